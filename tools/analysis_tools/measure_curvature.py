"""Measure the curvature of the loss at the checkpoints of trainings: eigenvalues and trace of the Hessian.

All networks are measured on the same training images. Results are written to WORK_DIR/curvature.json immediately.
Checkpoints that are in this file already are skipped, so that the tool can be run again while a training adds
checkpoints.
"""
import argparse

from mmgcp.analysis.curvature import curvature_rows, plot_curvature, read_curvature
from mmgcp.analysis.tables import markdown_table
from mmgcp.apis.along_training import measure_curvatures
from mmgcp.apis.launch import load_configs
from mmgcp.utils.arguments import Options, add_figure_arguments, at_least
from mmgcp.utils.reported import reported


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('configs', nargs='+', metavar='CONFIG', help='config of a training')
    parser.add_argument('--work-dirs', nargs='+', metavar='WORK_DIR',
                        help='folders of the checkpoints, one per config (default: work_dirs/NAME_OF_CONFIG)')
    parser.add_argument('--labels', nargs='+', help='names of the runs (default: names of the work dirs)')
    parser.add_argument('--every', type=at_least(1), default=1, metavar='N',
                        help='measure every N-th checkpoint, and the last one (default: all)')
    parser.add_argument('--batches', type=at_least(1), default=1, metavar='N',
                        help='number of batches of train_dataloader.batch_size images (default: %(default)s)')
    parser.add_argument('--eigenvalues', type=at_least(1), default=1, metavar='K',
                        help='number of largest eigenvalues (default: %(default)s)')
    parser.add_argument('--smallest', action='store_true', help='measure the most negative eigenvalue too')
    parser.add_argument('--tolerance', type=float, default=1e-3,
                        help='relative accuracy of eigenvalues (default: %(default)s)')
    parser.add_argument('--samples', type=at_least(2), default=10, metavar='N',
                        help='random vectors for the trace, whose error falls as 1/sqrt(N) (default: %(default)s)')
    parser.add_argument('--seed', type=at_least(0), default=0,
                        help='seed of images, dropout and random vectors (default: %(default)s)')
    parser.add_argument('--cfg-options', nargs='+', action=Options, default={},
                        help='settings that override all configs: train_dataloader.batch_size=128')
    add_figure_arguments(parser, 'curvature.png')
    args = parser.parse_args()
    for name, values in (('--work-dirs', args.work_dirs), ('--labels', args.labels)):
        if values and len(values) != len(args.configs):
            parser.error(f'{name} names {len(values)} runs, but there are {len(args.configs)} configs: give one each')
    return args


def main() -> None:
    args = parse_args()
    with reported(ValueError, OSError):
        cfgs = load_configs(args.configs, args.work_dirs, args.labels, cfg_options=args.cfg_options)
        measure_curvatures(cfgs, args.every, args.batches, args.seed, eigenvalues=args.eigenvalues,
                           smallest=args.smallest, samples=args.samples, tolerance=args.tolerance)
        curvatures = [read_curvature(cfg.work_dir, name) for name, cfg in cfgs.items()]
        paths = plot_curvature(curvatures, args.out, args.formats)
    print(f'\n{markdown_table(*curvature_rows(curvatures))}\n\nFigure:', *paths)


if __name__ == '__main__':
    main()
