"""Measures Table 1 on the checkpoints of a training: gradients of GAP, GCP and GAP with K-FAC by the same weights.

What is measured goes to WORK_DIR/gradients.json at once: called again, the tool measures only what is missing there, as
the new checkpoints of a training under way.
"""
import argparse
import math
from pathlib import Path

from mmengine.config import DictAction

from mmgcp.analysis.table_1 import gradient_table, plot_gradients
from mmgcp.apis.along_training import measure_gradients
from mmgcp.apis.launch import load_config
from mmgcp.apis.trained import saved_checkpoints
from mmgcp.utils.arguments import add_figure_arguments
from mmgcp.utils.records import read_records
from mmgcp.utils.reported import reported


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
    return parser.parse_args()


def positive(kind):
    """Type of an argument that is a positive number."""

    def number(text):
        if not 0 < kind(text) < math.inf:
            raise argparse.ArgumentTypeError(f'{text} must be positive')
        return kind(text)

    number.__name__ = kind.__name__  # argparse names it where there is no number at all
    return number


def main():
    args = parse_args()
    with reported(ValueError, OSError):
        cfg = load_config(args.config, args.work_dir, args.cfg_options)
        path = Path(cfg.work_dir, 'gradients.json')
        measure_gradients(cfg, path, args.checkpoints or saved_checkpoints(cfg.work_dir), args.batches, args.damping,
                          args.seed, config=Path(args.config).name, cfg_options=args.cfg_options)
        records = read_records(path).records
        paths = plot_gradients(records, args.out, Path(args.config).stem, args.formats)
    print(f'\n{gradient_table(records)}\n\nFigure:', *paths)


if __name__ == '__main__':
    main()
