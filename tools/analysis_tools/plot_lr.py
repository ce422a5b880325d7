"""Plot learning rates over epochs: of configs, of Eq. 9 (Fig. 4), or of the settings of Table 3.

The default is Table 3, with a panel per family of networks. A curve is an array of learning rates, (n,), of which entry
``e`` is the lr at the start of epoch ``e + 1``.
"""
import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from mmgcp.analysis.learning_rates import (
    Schedule,
    learning_rate_table,
    merge_equal_curves,
    plot_learning_rates,
    schedules,
)
from mmgcp.apis.launch import load_config
from mmgcp.engine.schedulers import lr_curve
from mmgcp.engine.schedulers.curve import EPOCH_LENGTH
from mmgcp.utils.arguments import Options, add_figure_arguments, at_least
from mmgcp.utils.configs import configs_folder
from mmgcp.utils.logs import read_runs
from mmgcp.utils.reported import reported

EQ_9 = 'gcp/resnet18_gcp_imagenet.py'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('configs', nargs='*', metavar='CONFIG', help='config file (default: the schedules of Table 3)')
    parser.add_argument('--polynomial', nargs='+', type=rho_and_final_epoch, default=[], metavar='RHO-E_F',
                        help='curves of Eq. 9 with l_0 = 0.1 instead of configs: 11-53 5-60 2-50')
    parser.add_argument('--runs', nargs='+', default=[], metavar='WORK_DIR',
                        help='trainings with these rates, in the same order, whose convergence is plotted beside them')
    parser.add_argument('--labels', nargs='+', help='names of the trainings (default: names of the folders)')
    parser.add_argument('--metric', default='accuracy/top1', help='validation metric of --runs (default: %(default)s)')
    parser.add_argument('--cfg-options', nargs='+', action=Options, default={},
                        help='settings that override all configs: param_scheduler.power=5')
    parser.add_argument('--epoch-length', type=int, default=EPOCH_LENGTH, metavar='ITERATIONS',
                        help='iterations per epoch, for schedules by iteration (default: %(default)s)')
    parser.add_argument('--epochs', type=at_least(1), nargs='+', default=[1, 11, 31, 51, 101], metavar='EPOCH',
                        help='epochs in the printed table (default: 1 11 31 51 101)')
    parser.add_argument('--log', action='store_true', help='use a logarithmic axis for learning rates')
    add_figure_arguments(parser, 'learning_rates.png')
    return parser.parse_args()


def rho_and_final_epoch(text: str) -> tuple[float, int]:
    """Parse '11-53'."""
    numbers = re.fullmatch(r'(\d+(?:\.\d+)?)-(\d+)', text)
    if not numbers:
        raise argparse.ArgumentTypeError(f"'{text}' must be rho and the final epoch of Eq. 9, such as 11-53")
    return float(numbers[1]), int(numbers[2])


def by_name(configs: Sequence[str]) -> dict[str, str]:
    """Name configs after their files, or by their paths if file names coincide."""
    names = [Path(config).stem for config in configs]
    names = names if len(set(names)) == len(names) else configs
    return {name: Schedule(config, {}) for name, config in zip(names, configs, strict=True)}


def main() -> None:
    args = parse_args()

    def curve(config, **options):
        return lr_curve(load_config(config, cfg_options={**args.cfg_options, **options}), args.epoch_length)

    def eq_9(rho, final_epoch):
        return curve(str(configs_folder() / EQ_9), **{'param_scheduler.power': rho, 'train_cfg.max_epochs': final_epoch,
                                                      'param_scheduler.final_epoch': final_epoch})

    with reported(ValueError, OSError):
        if args.polynomial and args.configs:
            raise ValueError('Give either configs or --polynomial.')
        if args.polynomial:
            groups = {'Eq. 9': {f'{rho:g} - {final_epoch}': eq_9(rho, final_epoch)
                                for rho, final_epoch in args.polynomial}}
        else:
            groups = {'': by_name(args.configs)} if args.configs else schedules()
            groups = {title: merge_equal_curves({name: curve(str(file), **options)
                                                 for name, (file, options) in settings.items()})
                      for title, settings in groups.items()}
        runs = read_runs(args.runs, args.labels) if args.runs else []
        paths = plot_learning_rates(groups, args.out, args.log, args.formats, runs, args.metric)
    print(learning_rate_table(groups, args.epochs))
    print('\nFigure:', *paths)


if __name__ == '__main__':
    main()
