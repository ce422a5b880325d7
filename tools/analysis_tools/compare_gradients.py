"""Measure Table 1 on the checkpoints of a training: gradients of GAP, GCP and GAP with K-FAC for the same weights.

Results are written to WORK_DIR/gradients.json immediately. Checkpoints that are in this file already are skipped, so
that the tool can be run again while a training adds checkpoints.
"""
import argparse
import math
from pathlib import Path

from mmgcp.analysis.table_1 import gradient_rows, plot_gradients
from mmgcp.analysis.tables import markdown_table
from mmgcp.apis.along_training import measure_gradients
from mmgcp.apis.launch import load_config
from mmgcp.apis.trained import saved_checkpoints
from mmgcp.utils.arguments import Options, add_figure_arguments, at_least
from mmgcp.utils.records import read_records
from mmgcp.utils.reported import reported


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of the training')
    parser.add_argument('checkpoints', nargs='*', metavar='CHECKPOINT', type=Path,
                        help='checkpoints to measure (default: all epoch_N.pth or iter_N.pth in the work_dir)')
    parser.add_argument('--work-dir', help='work_dir of the training (default: work_dirs/NAME_OF_CONFIG)')
    parser.add_argument('--batches', type=at_least(1), default=4, metavar='N',
                        help='number of batches of train_dataloader.batch_size images (default: %(default)s)')
    parser.add_argument('--damping', type=positive, default=1e-3,
                        help='K-FAC damping, added to the eigenvalues of the Fisher matrix (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='seed of images and augmentations (default: %(default)s)')
    parser.add_argument('--cfg-options', nargs='+', action=Options, default={},
                        help='settings that override the config: train_dataloader.batch_size=128')
    add_figure_arguments(parser, 'gradients.png')
    return parser.parse_args()


def positive(text: str) -> float:
    """Argument type for positive numbers."""
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f'{text} must be positive')
    return number


def main() -> None:
    args = parse_args()
    with reported(ValueError, OSError):
        cfg = load_config(args.config, args.work_dir, args.cfg_options)
        path = Path(cfg.work_dir, 'gradients.json')
        measure_gradients(cfg, path, args.checkpoints or saved_checkpoints(cfg.work_dir), args.batches, args.damping,
                          args.seed, config=Path(args.config).name, cfg_options=args.cfg_options)
        records = read_records(path).records
        paths = plot_gradients(records, args.out, Path(args.config).stem, args.formats)
    print(f'\n{markdown_table(*gradient_rows(records))}\n\nFigure:', *paths)


if __name__ == '__main__':
    main()
