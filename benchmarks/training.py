"""Throughput of a training as users start it, with its data: whether reading images or the network limits it.

    python -m benchmarks.training [--configs FILE ...] [--device cuda] [--batch 64] [--workers 4] [--steps 40]
                                  [--warm-up 10] [--cfg-options KEY=VALUE ...] [--save results/benchmarks]

Trains on synthetic JPEG photos of ImageNet's usual size (500 x 375) with the pipeline, network and optimiser of a
config, by MMEngine's ``Runner``, and reads its timer. Prints a Markdown table: the median step, the share of it that
waits for the data loader, and images per second of the loader alone. --save also writes it as a CSV file.
"""
import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from benchmarks.measure import Tables, add_save_option, needs_device
from mmgcp.apis.launch import build_runner
from mmgcp.utils.arguments import Options

CONFIGS = ['configs/gap/resnet50_gap_imagenet.py', 'configs/gcp/resnet50_gcp_m_imagenet.py']
CLASSES = 1000


def draw_photos(folder: Path, number: int, classes: int = CLASSES) -> None:
    """Write JPEG files that take as long to read as photos, smooth colours under noise; one for each of the classes."""
    generator = np.random.default_rng(0)
    drawn = []
    for i in range(number):
        smooth = cv2.resize(generator.integers(256, size=(12, 16, 3), dtype=np.uint8), (500, 375),
                            interpolation=cv2.INTER_CUBIC)
        noise = generator.normal(0, 8, smooth.shape)
        drawn.append(folder / f'{i}.jpg')
        cv2.imwrite(str(drawn[-1]), (smooth + noise).clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90])
    for label in range(classes):
        path = folder / 'train' / f'class_{label:03}' / 'photo.jpg'
        path.parent.mkdir(parents=True)
        path.hardlink_to(drawn[label % number])


def config(path: str, photos: Path, work_dir: Path, args: argparse.Namespace) -> Config:
    """The config, set to train on ``photos`` for some steps and to do nothing else."""
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(dict(
        work_dir=str(work_dir), launcher='none', param_scheduler=None, val_cfg=None, val_dataloader=None,
        val_evaluator=None, test_cfg=None, test_dataloader=None, test_evaluator=None, log_level='ERROR',
        train_cfg=dict(_delete_=True, by_epoch=False, max_iters=args.steps + args.warm_up),
        train_dataloader=dict(batch_size=args.batch, num_workers=args.workers, persistent_workers=args.workers > 0,
                              dataset=dict(data_root=str(photos)), sampler=dict(type='InfiniteSampler', shuffle=True)),
        default_hooks=dict(checkpoint=None)))
    cfg.merge_from_dict(args.cfg_options)
    return cfg


def measure(path: str, photos: Path, args: argparse.Namespace) -> list[str]:
    """Row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        runner = build_runner(config(path, photos, Path(folder), args), ['train'], whole_model=False)
        runner.train()
        steps, waits = (runner.message_hub.get_scalar(f'train/{name}').data[0][args.warm_up:]
                        for name in ('time', 'data_time'))
        loader = loader_rate(runner, args)
    step = statistics.median(steps)
    return [Path(path).stem, f'{1e3 * step:.0f}', f'{1e3 * min(steps):.0f} to {1e3 * max(steps):.0f}',
            f'{args.batch * len(steps) / sum(steps):.0f}', f'{100 * sum(waits) / sum(steps):.0f} %', f'{loader:.0f}']


def loader_rate(runner: Runner, args: argparse.Namespace) -> float:
    """Images per second of the data loader when nothing else runs."""
    batches = iter(Runner.build_dataloader(runner.cfg.train_dataloader, seed=0))
    for _ in range(args.warm_up):
        next(batches)
    start = time.perf_counter()
    for _ in range(args.steps):
        next(batches)
    return args.batch * args.steps / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--configs', nargs='+', default=CONFIGS, help='configs of classifiers')
    parser.add_argument('--batch', type=int, default=64, help='images per step')
    parser.add_argument('--workers', type=int, default=len(os.sched_getaffinity(0)), help='processes that read images')
    parser.add_argument('--steps', type=int, default=40, help='timed steps')
    parser.add_argument('--warm-up', type=int, default=10, help='steps before these, not timed')
    parser.add_argument('--photos', type=int, default=1000, help='photos to draw')
    parser.add_argument('--threads', type=int, default=2, help='CPU threads')
    parser.add_argument('--device', type=torch.device, default=torch.device('cpu'),
                        help='device of the record; MMEngine trains on a GPU if there is one')
    parser.add_argument('--cfg-options', nargs='+', action=Options, default={}, help='config settings to override')
    add_save_option(parser)
    args = parser.parse_args()
    needs_device(parser, args.device)
    torch.set_num_threads(args.threads)
    print(f'batch {args.batch}, {args.workers} workers, {args.device}, {args.threads} threads, torch '
          f'{torch.__version__}, {args.steps} steps', flush=True)
    with tempfile.TemporaryDirectory() as folder:
        draw_photos(Path(folder), args.photos)
        rows = [measure(path, Path(folder), args) for path in args.configs]
    Tables('training', parser, args, apart=['device']).show(
        'throughput', ['config', 'step (ms)', 'range', 'images/s', 'of the time spent waiting for data',
                       'images/s of the loader alone'], rows)


if __name__ == '__main__':
    main()
