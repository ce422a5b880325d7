"""Time of reading images, step by step, and the effect of options of MMCV and PyTorch.

    python -m benchmarks.loading [--config FILE] [--batch 64] [--workers 2] [--photos 300] [--repeats 5]
                                 [--save results/benchmarks]

Reads the synthetic photos of :mod:`benchmarks.training` with the training pipeline of a config. Prints three Markdown
tables: the steps of the pipeline; alternatives to them, in one process; settings of the data loader, over one epoch
each. Measurements alternate. --save also writes the tables as CSV files.
"""
import argparse
import copy
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from benchmarks.measure import Tables, add_save_option, in_turns, ratio_in_turns
from benchmarks.training import CONFIGS, draw_photos

# Changes of a step of the pipeline: its index and new settings.
WAYS = {
    'default': (0, {}),
    'decoded by Pillow': (0, dict(imdecode_backend='pillow')),
    'decoded by turbojpeg': (0, dict(imdecode_backend='turbojpeg')),
    'decoded at half size': (0, dict(color_type=cv2.IMREAD_REDUCED_COLOR_2)),
    'resized by OpenCV': (1, dict(backend='cv2')),
}
LOADERS = {
    'as configured': {},
    'persistent_workers': dict(persistent_workers=True),
    'prefetch_factor 8': dict(prefetch_factor=8),
    'one worker': dict(num_workers=1),
    'no worker': dict(num_workers=0),
}


def has_turbojpeg() -> bool:
    """Whether MMCV can decode with PyTurboJPEG; its global backend stays OpenCV."""
    try:
        mmcv.use_backend('turbojpeg')
    except (ImportError, RuntimeError):
        return False
    finally:
        mmcv.use_backend('cv2')  # also after a failure, which leaves the other one set
    return True


def loader(cfg: Config, way: tuple[int, dict], **settings) -> torch.utils.data.DataLoader:
    """The training loader of a config with a step of its pipeline changed, and other settings."""
    settings = {**copy.deepcopy(cfg.train_dataloader), **settings}
    step, change = way
    settings['dataset']['pipeline'][step].update(change)
    return Runner.build_dataloader(settings, seed=0)


def transform_seconds(dataset: torch.utils.data.Dataset) -> list[float]:
    """Seconds that each step of the pipeline takes for all images."""
    seconds = [0.] * len(dataset.pipeline.transforms)
    for index in range(len(dataset)):
        image = dataset.get_data_info(index)
        for i, transform in enumerate(dataset.pipeline.transforms):
            start = time.perf_counter()
            image = transform(image)
            seconds[i] += time.perf_counter() - start
    return seconds


def timed_epoch(batches: Iterable) -> float:
    """Seconds of an epoch."""
    start = time.perf_counter()
    for _ in batches:
        pass
    return time.perf_counter() - start


def difference(*datasets: torch.utils.data.Dataset, number: int = 8) -> str:
    """Mean difference between the first images of two data sets, if decoded to the same size: else the crops differ."""
    images, sizes = [], []
    for dataset in datasets:
        random.seed(0)
        np.random.seed(0)
        images.append(torch.stack([dataset[i]['inputs'] for i in range(number)]).float())
        sizes.append(dataset.pipeline.transforms[0](dataset.get_data_info(0))['img'].shape)
    return f'{(images[0] - images[1]).abs().mean():.2f}' if sizes[0] == sizes[1] else 'other crops'


def compared(functions: list[Callable[[], float]], args: argparse.Namespace) -> list[list[str]]:
    """Images per second, and factor over the first, of functions that return the seconds for all photos."""
    seconds = in_turns(functions, args.repeats)
    return [[f'{args.photos / statistics.median(times):.0f}', ratio_in_turns(seconds[0], times)] for times in seconds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', default=CONFIGS[0], help='config of a classifier')
    parser.add_argument('--batch', type=int, default=64, help='images per batch')
    parser.add_argument('--workers', type=int, default=len(os.sched_getaffinity(0)), help='processes that read images')
    parser.add_argument('--photos', type=int, default=300, help='photos per epoch')
    parser.add_argument('--repeats', type=int, default=5, help='timed rounds')
    parser.add_argument('--threads', type=int, default=1, help='CPU threads')
    add_save_option(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tables = Tables('loading', parser, args)
    cfg = Config.fromfile(args.config)
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    with tempfile.TemporaryDirectory() as folder:
        draw_photos(Path(folder), args.photos, args.photos)
        cfg.train_dataloader.dataset.data_root = folder
        cfg.train_dataloader.update(batch_size=args.batch, num_workers=args.workers)
        show(cfg, tables, args)


def show(cfg: Config, tables: Tables, args: argparse.Namespace) -> None:
    """Measure and print."""
    ways = {name: way for name, way in WAYS.items() if 'turbojpeg' not in name or has_turbojpeg()}
    datasets = [loader(cfg, way, num_workers=0).dataset for way in ways.values()]
    seconds = transform_seconds(datasets[0])
    tables.show('parts', ['step', 'ms per image', 'of the whole'], [
        [type(transform).__name__, f'{1e3 * s / args.photos:.2f}', f'{100 * s / sum(seconds):.0f} %']
        for transform, s in zip(datasets[0].pipeline.transforms, seconds, strict=True)])
    rows = compared([lambda data=data: timed_epoch(map(data.__getitem__, range(len(data)))) for data in datasets], args)
    tables.show('ways', ['images', 'images/s of a process', 'times the default (range)',
                         'mean difference of a pixel, of 255'],
                [[name, *row, difference(data, datasets[0])]
                 for name, row, data in zip(ways, rows, datasets, strict=True)])
    if not args.workers:
        return
    loaders = [loader(cfg, WAYS['default'], **change) for change in LOADERS.values()]
    rows = compared([lambda batches=batches: timed_epoch(batches) for batches in loaders], args)
    tables.show('loaders', [f'loader, of {args.workers} workers', 'images/s', 'times the first (range)'],
                [[name, *row] for name, row in zip(LOADERS, rows, strict=True)])


if __name__ == '__main__':
    main()
