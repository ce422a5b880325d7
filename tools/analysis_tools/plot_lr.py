"""Plot learning rates over epochs: of configs, of Eq. 9 (Fig. 4), or of the settings of Table 3.

The default is Table 3, with a panel per family of networks. A curve is an array of learning rates, (n,), of which entry
``e`` is the lr at the start of epoch ``e + 1``.
"""
import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mmengine.config import DictAction

from mmgcp.analysis.convergence import draw_curves
from mmgcp.analysis.learning_rates import Schedule, schedules
from mmgcp.analysis.style import looks_of, markers_at, save_figure, step_axis, use_style
from mmgcp.analysis.tables import markdown_table
from mmgcp.apis.launch import load_config
from mmgcp.engine.schedulers import lr_curve
from mmgcp.engine.schedulers.curve import EPOCH_LENGTH
from mmgcp.utils.arguments import add_figure_arguments
from mmgcp.utils.configs import configs_folder
from mmgcp.utils.logs import Run, read_runs
from mmgcp.utils.reported import reported

Curves = Mapping[str, np.ndarray]

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
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={},
                        help='settings that override all configs: param_scheduler.power=5')
    parser.add_argument('--epoch-length', type=int, default=EPOCH_LENGTH, metavar='ITERATIONS',
                        help='iterations per epoch, for schedules by iteration (default: %(default)s)')
    parser.add_argument('--epochs', type=int, nargs='+', default=[1, 11, 31, 51, 101], metavar='EPOCH',
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


def merge_equal_curves(curves: Curves) -> dict[str, np.ndarray]:
    """Give equal curves one common name, 'a', 'a, b', or 'a and 7 more', in the order in which they first appear."""
    groups = []
    for name, rates in curves.items():
        same = next((group for group in groups if len(curves[group[0]]) == len(rates)
                     and np.allclose(curves[group[0]], rates, rtol=1e-9, atol=0)), None)
        if same:
            same.append(name)
        else:
            groups.append([name])
    return {', '.join(names) if len(names) <= 2 else f'{names[0]} and {len(names) - 1} more': curves[names[0]]
            for names in groups}


def learning_rate_table(groups: Mapping[str, Curves], epochs: Sequence[int]) -> str:
    """Write rates as a Markdown table: number of epochs, those of chosen epochs, and the last.

    Args:
        groups (Mapping[str, Curves]): Curves by name, by title; the title stands before the name.
        epochs (Sequence[int]): Epochs, counted from 1, with a column each, empty for curves that end before.
    """
    rows = [[' '.join(filter(None, (title, name))), str(len(rates)), *(_cell(rates, epoch) for epoch in epochs),
             _cell(rates, len(rates))] for title, curves in groups.items() for name, rates in curves.items()]
    return markdown_table(['setting', 'epochs', *(f'epoch {epoch}' for epoch in epochs), 'last'], rows)


def draw_learning_rates(ax: Axes, curves: Curves, log: bool = False) -> None:
    """Draw learning rates against epochs; with ``log``, a curve has a gap where its lr is 0, as LR_adju at its end."""
    step_axis(ax, 'epoch', ticks=6)
    if log:
        ax.set_yscale('log', nonpositive='mask')
    looks = looks_of(curves)
    for index, (name, rates) in enumerate(curves.items()):
        ax.plot(np.arange(1, len(rates) + 1), rates, **looks[name], label=f'{name}: {len(rates)} epochs',
                markevery=markers_at(8, len(rates), index, len(curves)))


def plot_learning_rates(groups: Mapping[str, Curves], path: str | Path, log: bool = False,
                        formats: Sequence[str] = ('pdf', ), runs: Sequence[Run] = (),
                        metric: str = 'accuracy/top1') -> list[Path]:
    """Write a figure of learning rates with a panel per group, each with axes of its own.

    ``runs`` add a panel with their convergence (Fig. 4), in which each looks like the curve of rates at its place.

    Args:
        groups (Mapping[str, Curves]): Curves by name, by title of the panel.
        path (str | Path): The PNG file to write.
        log (bool): Logarithmic axes of rates.
        formats (Sequence[str]): As for :func:`~mmgcp.analysis.style.save_figure`.
        runs (Sequence[Run]): Trainings with these rates, in the order of the curves.
        metric (str): Validation metric to draw of them.

    Raises:
        ValueError: If ``path`` does not end in ``.png``, or a run lacks the metric.
    """
    with use_style():
        number = len(groups) + bool(runs)
        longest = max(*map(len, groups.values()), len(runs))
        figure = Figure(figsize=(max(6.4, 3.4 * number), 3.3 + 0.19 * longest))  # inches: a line per curve
        panels = figure.subplots(1, number, squeeze=False)[0]
        panels[0].set_ylabel('Learning rate')
        for ax, (title, curves) in zip(panels, groups.items(), strict=False):
            draw_learning_rates(ax, curves, log)
            ax.set_title(title)
        if runs:
            looks = looks_of(name for curves in groups.values() for name in curves).values()
            named = dict(zip((run.name for run in runs), looks, strict=False)) if len(runs) <= len(looks) else None
            draw_curves(panels[-1], runs, metric, named)
            panels[-1].set_title('Convergence curves')
        for ax in panels:
            # Below the axes, where it covers no curve.
            ax.legend(loc='upper center', bbox_to_anchor=(0.5, -0.17), handlelength=4)
        return save_figure(figure, path, formats)


def _cell(rates, epoch):
    return f'{rates[epoch - 1]:.3g}' if 1 <= epoch <= len(rates) else ''


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
