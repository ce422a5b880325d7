"""Measures how curved the loss of trained networks is, checkpoint by checkpoint: eigenvalues and trace of its Hessian.

All networks are measured on the same training images. What is measured goes to WORK_DIR/curvature.json at once: called
again, the tool measures only what is missing there, as the new checkpoints of a training under way.
"""
import argparse
import hashlib
import time
import warnings
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config, DictAction

from mmgcp.analysis.curvature import FILE_NAME, check_comparable, curvature_table, plot_curvature, read_curvature
from mmgcp.analysis.panels import add_figure_arguments
from mmgcp.engine.probes.hessian import measure_curvature
from mmgcp.utils.launch import load_config, reported
from mmgcp.utils.records import append_record, open_records
from mmgcp.utils.trained import saved_checkpoints, trained_model, training_batches, unmeasured

# Arguments of measure_curvature that the command line has under the same names.
MEASURE = ('eigenvalues', 'smallest', 'samples', 'tolerance', 'seed')
UNITS = {'epoch': 'epoch', 'iter': 'iteration'}
INTERVAL = 10  # seconds between two lines of progress


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('configs', nargs='+', metavar='CONFIG', help='config of a training')
    parser.add_argument('--work-dirs', nargs='+', metavar='WORK_DIR',
                        help='where the checkpoints are, one folder per config (default: work_dirs/NAME_OF_CONFIG)')
    parser.add_argument('--labels', nargs='+', help='names of the runs (default: names of the work dirs)')
    parser.add_argument('--every', type=at_least(1), default=1, metavar='N',
                        help='measure every N-th checkpoint, and the last one (default: all)')
    parser.add_argument('--batches', type=at_least(1), default=1, metavar='N',
                        help='batches of train_dataloader.batch_size images (default: %(default)s)')
    parser.add_argument('--eigenvalues', type=at_least(1), default=1, metavar='K',
                        help='number of largest eigenvalues (default: %(default)s)')
    parser.add_argument('--smallest', action='store_true', help='measure the most negative eigenvalue too')
    parser.add_argument('--tolerance', type=float, default=1e-3,
                        help='relative accuracy of eigenvalues (default: %(default)s)')
    parser.add_argument('--samples', type=at_least(2), default=10, metavar='N',
                        help='random vectors for the trace; its error falls with their root (default: %(default)s)')
    parser.add_argument('--seed', type=at_least(0), default=0,
                        help='of images, dropout and random vectors (default: %(default)s)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={},
                        help='settings that replace those of all configs: train_dataloader.batch_size=128')
    add_figure_arguments(parser, 'curvature.png')
    args = parser.parse_args()
    for name, values in (('--work-dirs', args.work_dirs), ('--labels', args.labels)):
        if values and len(values) != len(args.configs):
            parser.error(f'{name} names {len(values)} runs, but there are {len(args.configs)} configs: give one each')
    return args


def at_least(lowest):
    """Type of an argument that is an integer with a lower bound."""

    def integer(text):
        if int(text) < lowest:
            raise argparse.ArgumentTypeError(f'{text} must be an integer of at least {lowest}')
        return int(text)

    return integer


class Run(NamedTuple):
    """A training whose checkpoints are to be measured."""
    name: str
    cfg: Config
    checkpoints: list[Path]
    batches: list[dict]
    settings: dict


def find_runs(args):
    """The trainings of the command line, which must be comparable."""
    runs = {}
    for index, config in enumerate(args.configs):
        cfg = load_config(argparse.Namespace(
            config=config, work_dir=args.work_dirs and args.work_dirs[index], cfg_options=args.cfg_options,
            launcher='none', local_rank=0))
        name = args.labels[index] if args.labels else Path(cfg.work_dir).resolve().name
        if name in runs:
            raise ValueError(f"several runs are called '{name}': give each its own name with --labels")
        found = saved_checkpoints(cfg.work_dir)
        # Counted from the first, so that those that a training under way adds change nothing.
        checkpoints = sorted({*found[args.every - 1::args.every], found[-1]}, key=found.index)
        batches = training_batches(cfg, args.batches, args.seed)
        settings = dict(images=sum(len(batch['inputs']) for batch in batches), batches=args.batches,
                        fingerprint=fingerprint(batches), **{name: getattr(args, name) for name in MEASURE})
        runs[name] = Run(name, cfg, checkpoints, batches, settings)
    check_comparable({name: run.settings for name, run in runs.items()})
    return list(runs.values())


def fingerprint(batches):
    """Short hash of all images: equal for equal images in equal order."""
    digest = hashlib.sha256()
    for batch in batches:
        for image in batch['inputs']:
            digest.update(image.numpy().tobytes())
    return digest.hexdigest()[:12]


class Progress:
    """Tells every ten seconds how far a measurement has come, and how long all of them will take.

    Args:
        measurements (int): How many there will be.
        samples (int): Products for the trace of each.
        costs (list[int]): Products that earlier measurements took.
    """

    def __init__(self, measurements, samples, costs):
        self.measurements, self.samples, self.costs, self.number = measurements, samples, costs, 0

    def start(self, name):
        self.number += 1
        self.name = f'[{self.number}/{self.measurements}] {name}'
        self.began = self.told = time.perf_counter()

    def __call__(self, products):
        now = time.perf_counter()
        if now - self.told < INTERVAL:
            return
        self.told, each = now, (now - self.began) / products
        if self.costs:
            usual = sum(self.costs) / len(self.costs)
            left = max(usual - products, 0) + usual * (self.measurements - self.number)
            outlook = f' of about {usual:.0f}, {each:.2g} s each: {timedelta(seconds=round(left * each))} left in all'
        else:
            outlook = f', {each:.2g} s each: {self.samples} for the trace, then until the eigenvalues converge'
        print(f'{self.name}: {products} products{outlook}', flush=True)

    def end(self, curvature):
        self.costs.append(curvature.products)
        values = ', '.join(f'{value:.4g}' for value in curvature.eigenvalues) or 'none found'
        print(f'{self.name}: loss {curvature.loss:.4g}, largest eigenvalues {values}, trace {curvature.trace:.4g} +- '
              f'{curvature.trace_error:.4g} ({curvature.products} products, {curvature.seconds:.0f} s)', flush=True)
        if curvature.fault:
            print(f'{self.name}: left incomplete, because {curvature.fault}', flush=True)


def measure_missing(runs):
    """Measure what the files of the runs do not hold yet."""
    missing, costs = [], []
    for run in runs:
        known = open_records(Path(run.cfg.work_dir, FILE_NAME), run.settings)
        costs += [record['products'] for record in known]
        todo = unmeasured(run.checkpoints, known)
        print(f'{run.name}: {len(run.checkpoints)} checkpoints, {len(todo)} to be measured', flush=True)
        missing += [(run, path, checksum) for path, checksum in todo]
    settings, device = runs[0].settings, 'cuda' if torch.cuda.is_available() else 'cpu'
    how = {name: settings[name] for name in MEASURE}
    print(f"Curvature of the loss of {settings['images']} training images, on the {device.upper()}: "
          f'{", ".join(f"{name} {value}" for name, value in how.items())}', flush=True)
    progress = Progress(len(missing), settings['samples'], costs)
    for run, path, checksum in missing:
        progress.start(f'{run.name} {path.name}')
        model, _ = trained_model(run.cfg, path)
        curvature = measure_curvature(model.to(device), run.batches, progress=progress, **how)
        unit, step = path.stem.split('_')
        append_record(Path(run.cfg.work_dir, FILE_NAME),
                      dict(checkpoint=path.name, crc32=checksum, unit=UNITS[unit], step=int(step),
                           **curvature._asdict()))
        progress.end(curvature)


def main():
    args = parse_args()
    warnings.formatwarning = lambda message, *_: f'Warning: {message}\n'
    with reported(ValueError, OSError):
        runs = find_runs(args)
        measure_missing(runs)
        curvatures = [read_curvature(run.cfg.work_dir, run.name) for run in runs]
        paths = plot_curvature(curvatures, args.out, args.formats)
    print(f'\n{curvature_table(curvatures)}\n\nFigure:', *paths)


if __name__ == '__main__':
    main()
