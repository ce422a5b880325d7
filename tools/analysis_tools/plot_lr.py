"""Draws the learning rates of configs against epochs; without configs, the settings of Table 3, a panel per family."""
import argparse
from pathlib import Path

from mmengine.config import DictAction

from mmgcp.analysis import learning_rate_table, merge_equal_curves, plot_learning_rates
from mmgcp.engine.schedulers import lr_curve
from mmgcp.engine.schedulers.curve import EPOCH_LENGTH
from mmgcp.utils.launch import load_config, reported
from mmgcp.utils.setup_env import configs_folder

FAMILIES = ('ResNet', 'MobileNetV2', 'ShuffleNetV2')
# In this order a setting has the same colour in all panels.
SETTINGS = ('norm', 'fast', 'adju', 'adju_release', 'fast_release')


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('configs', nargs='*', metavar='CONFIG', help='config file (default: the schedules of Table 3)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={},
                        help='settings that replace those of all configs: param_scheduler.power=5')
    parser.add_argument('--epoch-length', type=int, default=EPOCH_LENGTH, metavar='ITERATIONS',
                        help='iterations per epoch, for schedules by iteration (default: %(default)s)')
    parser.add_argument('--epochs', type=int, nargs='+', default=[1, 11, 31, 51, 101], metavar='EPOCH',
                        help='epochs whose lr is printed (default: 1 11 31 51 101)')
    parser.add_argument('--log', action='store_true', help='logarithmic axis of learning rates')
    parser.add_argument('--out', default='learning_rates.png', metavar='FIGURE.png', help='(default: %(default)s)')
    parser.add_argument('--formats', nargs='+', default=['pdf'], choices=['pdf', 'svg'],
                        help='vector files to write beside the PNG (default: pdf)')
    return parser.parse_args()


def table_3():
    """Schedule files by setting, by family."""
    folder = configs_folder() / '_base_' / 'schedules'
    files = {family: {f'LR_{setting}': folder / f'{family.lower()}_lr_{setting}.py' for setting in SETTINGS}
             for family in FAMILIES}
    return {family: {name: file for name, file in settings.items() if file.is_file()}
            for family, settings in files.items()}


def by_name(configs):
    """The given configs, named after their files, or by their paths where several files have one name."""
    names = [Path(config).stem for config in configs]
    return dict(zip(names if len(set(names)) == len(names) else configs, configs, strict=True))


def main():
    args = parse_args()

    def curve(config):
        run = argparse.Namespace(config=config, work_dir=None, cfg_options=args.cfg_options, launcher='none',
                                 local_rank=0)
        return lr_curve(load_config(run), args.epoch_length)

    groups = {'': by_name(args.configs)} if args.configs else table_3()
    with reported(ValueError, OSError):
        groups = {title: merge_equal_curves({name: curve(config) for name, config in configs.items()})
                  for title, configs in groups.items()}
        paths = plot_learning_rates(groups, args.out, args.log, args.formats)
    print(learning_rate_table(groups, args.epochs))
    print('\nFigure:', *paths)


if __name__ == '__main__':
    main()
