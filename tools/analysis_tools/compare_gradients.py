"""Measures Table 1 on the checkpoints of a training: gradients of GAP, GCP and GAP with K-FAC by the same weights.

What is measured goes to WORK_DIR/gradients.json at once: called again, the tool measures only what is missing there, as
the new checkpoints of a training under way.
"""
import argparse
import math
import time
import warnings
from pathlib import Path

from mmengine.config import DictAction
from mmengine.device import get_device

from mmgcp.analysis.gradients import gradient_table, plot_gradients
from mmgcp.analysis.panels import add_figure_arguments
from mmgcp.engine.probes.gradients import compare_gradients, weight_gradients
from mmgcp.utils.errors import SetupError
from mmgcp.utils.launch import load_config, reported
from mmgcp.utils.records import append_record, open_records, read_records
from mmgcp.utils.trained import saved_checkpoints, trained_model, training_batches, unmeasured


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of the training')
    parser.add_argument('checkpoints', nargs='*', metavar='CHECKPOINT', type=Path,
                        help='files to measure (default: all epoch_N.pth or iter_N.pth in the work_dir)')
    parser.add_argument('--work-dir', help='of the training (default: work_dirs/NAME_OF_CONFIG)')
    parser.add_argument('--batches', type=positive(int), default=4, metavar='N',
                        help='batches of train_dataloader.batch_size images (default: %(default)s)')
    parser.add_argument('--damping', type=positive(float), default=1e-3,
                        help='of K-FAC, added to the eigenvalues of the Fisher matrix (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of images and augmentations (default: %(default)s)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={},
                        help='settings that replace those of the config: train_dataloader.batch_size=128')
    add_figure_arguments(parser, 'gradients.png')
    parser.set_defaults(launcher='none', local_rank=0)
    return parser.parse_args()


def positive(kind):
    """Type of an argument that is a positive number."""

    def number(text):
        if not 0 < kind(text) < math.inf:
            raise argparse.ArgumentTypeError(f'{text} must be positive')
        return kind(text)

    number.__name__ = kind.__name__  # argparse names it where there is no number at all
    return number


def measure_missing(args, cfg, path):
    """Measure what the file does not hold yet."""
    checkpoints = args.checkpoints or saved_checkpoints(cfg.work_dir)
    for checkpoint in checkpoints:
        if not checkpoint.is_file():
            raise SetupError(f'the checkpoint {checkpoint} does not exist')
    batches = training_batches(cfg, args.batches, args.seed)
    known = open_records(path, dict(
        config=Path(args.config).name, cfg_options=args.cfg_options, batches=args.batches, damping=args.damping,
        images=sum(len(batch['inputs']) for batch in batches), seed=args.seed))
    missing = unmeasured(checkpoints, known)
    print(f'{len(checkpoints)} checkpoints, {len(missing)} of them to be measured', flush=True)
    for number, (checkpoint, checksum) in enumerate(missing, 1):
        start = time.perf_counter()
        model, meta = trained_model(cfg, checkpoint)
        if 'iter' not in meta:
            raise SetupError(f'{checkpoint} does not say after how many iterations it was saved: give a checkpoint '
                             'that a training has saved')
        gradients = weight_gradients(model.to(get_device()), batches, args.damping)
        rows = {name: row._asdict() for name, row in compare_gradients(gradients.rows).items()}
        append_record(path, dict(checkpoint=checkpoint.name, crc32=checksum, iter=meta['iter'],
                                 layer=gradients.layer, loss=gradients.loss, rows=rows))
        print(f'[{number}/{len(missing)}] {checkpoint}: loss {gradients.loss:.4g}, gradients by {gradients.layer} '
              f'({time.perf_counter() - start:.1f} s)', flush=True)


def main():
    args = parse_args()
    warnings.formatwarning = lambda message, *_: f'Warning: {message}\n'
    with reported(ValueError, OSError):
        cfg = load_config(args)
        path = Path(cfg.work_dir, 'gradients.json')
        measure_missing(args, cfg, path)
        records = read_records(path).records
        paths = plot_gradients(records, args.out, Path(args.config).stem, args.formats)
    print(f'\n{gradient_table(records)}\n\nFigure:', *paths)


if __name__ == '__main__':
    main()
