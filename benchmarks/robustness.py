"""Cost of a robustness benchmark: a test set by set against one plain test of the same files, and of corruptions.

    python -m benchmarks.robustness [--images 96] [--size 224] [--workers 1] [--depth 18] [--repeats 3]
                                    [--save results/benchmarks]

Both sides test one network with MMEngine's Runner on the same files, in the layout of ImageNet-C: ``plain`` in one loop
over all files, as ``tools/test.py`` does; ``set by set`` with ``mmgcp.BenchmarkLoop``, as ``tools/test_robustness.py``
does. They alternate after a warm-up round; numbers are medians. The second table has the memory of the process after
some of the 76 sets of ImageNet-C, tested one after the other, and its peak until then; the third the time that one
process takes to make a corrupted image, mean over severities, or a sequence. --save also writes all as CSV files.
"""
import argparse
import itertools
import os
import resource
import shutil
import statistics
import tempfile
import time
import unittest.mock
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from benchmarks.measure import Tables, add_save_option, interleaved_medians
from mmgcp.apis.robustness.benchmarks import benchmark_sets
from mmgcp.datasets.corruptions import corrupt_image
from mmgcp.datasets.perturbations import perturb_image, sequence_length
from mmgcp.robustness.corruptions import CORRUPTIONS, EXTRA_CORRUPTIONS, SEVERITIES
from mmgcp.robustness.perturbations import PERTURBATIONS
from tools.dataset_tools.shapes import ShapeSettings, make_imagenet

KINDS, LEVELS = ('brightness', 'contrast'), (1, 3)  # quick to make; making them is not timed
CLASSES = 12


def write_sets(folder: Path, images: int, size: int) -> None:
    """Write drawn images as the clean ones, and corrupted ones beside them, as JPEG files."""
    make_imagenet(folder, ShapeSettings(image_size=size, train=1, val=-(-images // CLASSES)), log=str)
    for path in sorted((folder / 'imagenet/val').glob('*/*')):
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        for kind, severity in itertools.product(KINDS, LEVELS):
            target = folder / 'c' / kind / str(severity) / path.parent.name / f'{path.stem}.JPEG'
            target.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(target), cv2.cvtColor(corrupt_image(image, kind, severity, 0), cv2.COLOR_RGB2BGR))


def config(folder: Path, depth: int, workers: int, kinds: Sequence[str] = KINDS, levels: Sequence[int] = LEVELS,
           **loop) -> Config:
    """Config of a run on the files."""
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    return Config(dict(
        default_scope='mmpretrain', work_dir=str(folder / 'work'), log_level='WARNING',
        model=dict(type='ImageClassifier', backbone=dict(type='mmgcp.GCPResNet', depth=depth),
                   neck=dict(type='mmgcp.GlobalCovariancePooling', in_channels=512 if depth < 50 else 2048,
                             reduced_channels=256),
                   head=dict(type='LinearClsHead', num_classes=CLASSES, in_channels=256 * 257 // 2),
                   data_preprocessor=dict(mean=[128.] * 3, std=[60.] * 3)),
        test_dataloader=dict(
            batch_size=32, num_workers=workers, sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='default_collate'),
            dataset=dict(type='mmgcp.ImageNetC', data_root=str(folder / 'c'), corruptions=kinds, severities=levels,
                         pipeline=pipeline)),
        test_evaluator=dict(type='Accuracy'), test_cfg=loop))


def timed_test(cfg: Config) -> list[float]:
    """Seconds of a test, excluding the building of the network."""
    runner = Runner.from_cfg(cfg)
    start = time.perf_counter()
    runner.test()
    return [time.perf_counter() - start]


def plain(folder: Path, depth: int, workers: int) -> list[float]:
    """Seconds of one loop over all files."""
    return timed_test(config(folder, depth, workers))


def set_by_set(folder: Path, depth: int, workers: int) -> list[float]:
    """Seconds of the benchmark's loop over the same files."""
    path = folder / 'measured.json'
    path.unlink(missing_ok=True)
    benchmark = dict(name='imagenet-c', data_root=str(folder / 'c'), kinds=KINDS, severities=LEVELS)
    cfg = config(folder, depth, workers, type='mmgcp.BenchmarkLoop', benchmark=benchmark, path=str(path), settings={})
    # The clean set holds the files of all others here, which plain() reads once: leave it out.
    with unittest.mock.patch('mmgcp.apis.robustness.benchmark_loop.benchmark_sets', without_clean):
        return timed_test(cfg)


def without_clean(*arguments) -> dict:
    return {name: entry for name, entry in benchmark_sets(*arguments).items() if name != 'clean'}


def memory(folder: Path, depth: int, workers: int) -> list[list[str]]:
    """Rows of memory, in MB, after some sets of a whole benchmark, all of the same images, clean ones among them."""
    for kind, severity in itertools.product(CORRUPTIONS, SEVERITIES):
        target = folder / 'c' / kind / str(severity)
        if not target.exists():
            shutil.copytree(folder / 'c' / KINDS[0] / str(LEVELS[0]), target, copy_function=os.link)
    cfg = config(folder, depth, workers, KINDS[:1], LEVELS[:1], type='mmgcp.BenchmarkLoop', settings={},
                 benchmark=dict(name='imagenet-c', data_root=str(folder / 'c'), kinds=CORRUPTIONS),
                 path=str(folder / 'memory.json'))
    used = []

    def note(*_) -> None:
        pages = int(Path('/proc/self/statm').read_text().split()[1])
        used.append((pages * resource.getpagesize() / 1e6,
                     resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6))

    with unittest.mock.patch('mmgcp.apis.robustness.benchmark_loop.append_record', note):
        Runner.from_cfg(cfg).test()
    return [[str(number), *(f'{value:.0f}' for value in used[number - 1])]
            for number in sorted({1, 2, 10, 25, 50, len(used)}) if number <= len(used)]


def seconds_to_make(size: int, repeats: int) -> list[list[str]]:
    """Rows of the table of what corruptions cost."""
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)

    def median(function):
        times = []
        for _ in range(repeats + 1):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
        return statistics.median(times[1:])  # the first includes compilation

    rows = []
    for kind in (*CORRUPTIONS, *EXTRA_CORRUPTIONS):
        seconds = statistics.fmean(median(lambda c=kind, s=severity: corrupt_image(image, c, s, 0))
                                   for severity in SEVERITIES)
        rows.append([kind, 'image', f'{1000 * seconds:.1f}', f'{1 / seconds:.0f}'])
    for kind in PERTURBATIONS:
        seconds = median(lambda p=kind: perturb_image(image, p))
        rows.append([kind, f'sequence of {sequence_length(kind)}', f'{1000 * seconds:.1f}', f'{1 / seconds:.0f}'])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=96, help='images per set')
    parser.add_argument('--size', type=int, default=224, help='side in pixels')
    parser.add_argument('--workers', type=int, default=1, help='workers of the data loader')
    parser.add_argument('--depth', type=int, default=18, help='depth of the ResNet')
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    add_save_option(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sets(folder, args.images, args.size)
        images = sum(1 for kind, level in itertools.product(KINDS, LEVELS)
                     for _ in (folder / 'c' / kind / str(level)).rglob('*.JPEG'))
        arguments = folder, args.depth, args.workers
        used = memory(*arguments)  # first, since the peak is that of the whole process
        (one,), (many,) = interleaved_medians([lambda: plain(*arguments), lambda: set_by_set(*arguments)], args.repeats)
    tables = Tables('robustness', parser, args, apart=['size'])
    tables.show('speed', ['test', 'images per second', 'share'],
                [['plain', f'{images / one:.1f}', '1'],
                 ['set by set', f'{images / many:.1f}', f'{one / many:.3f}']])
    tables.show('memory', ['sets', 'memory (MB)', 'peak (MB)'], used)
    tables.show('corruptions', ['corruption', 'of', 'ms', 'per second'], seconds_to_make(args.size, args.repeats))


if __name__ == '__main__':
    main()
