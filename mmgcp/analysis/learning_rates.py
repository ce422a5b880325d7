"""Settings of the learning rate: those of Table 3 (Wang et al., CVPR 2020) and of the authors' release."""
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmgcp.utils.configs import configs_folder
from mmgcp.utils.logs import Run

from .convergence import draw_curves
from .style import legend_label, looks_of, markers_at, save_figure, step_axis, use_style
from .tables import markdown_table

Curves = Mapping[str, np.ndarray]


class Schedule(NamedTuple):
    """A config, and settings that replace some of its own, by key as in ``--cfg-options``."""
    file: Path
    options: dict


def schedules() -> dict[str, dict[str, Schedule]]:
    """Return the settings of Table 3 and of the authors' release: by name, 'LR_norm', by family of networks."""
    folder, found = configs_folder() / '_base_' / 'schedules', {}
    for family in ('ResNet', 'MobileNetV2', 'ShuffleNetV2'):
        # In this order a setting has the same colour in all panels.
        files = {f'LR_{setting}': folder / f'{family.lower()}_lr_{setting}.py'
                 for setting in ('norm', 'fast', 'adju', 'adju_release')}
        found[family] = {name: Schedule(file, {}) for name, file in files.items() if file.is_file()}
    for name in ('LR_adju', 'LR_fast'):  # the release counts the epochs of ResNets from 0
        file = found['ResNet'][name].file
        found['ResNet'][f'{name}_release'] = Schedule(file, {'param_scheduler.first_epoch': 0})
    return found


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
    """Write rates as a Markdown table: a row per curve, after its title and name, a column for each of ``epochs``.

    Epochs count from 1; the cells of those after the end of a curve are empty. Its length and last rate have columns.
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
        ax.plot(np.arange(1, len(rates) + 1), rates, **looks[name], label=legend_label(f'{name}: {len(rates)} epochs'),
                markevery=markers_at(8, len(rates), index, len(curves)))


def plot_learning_rates(groups: Mapping[str, Curves], path: str | Path, log: bool = False,
                        formats: Sequence[str] = ('pdf', ), runs: Sequence[Run] = (),
                        metric: str = 'accuracy/top1') -> list[Path]:
    """Write a figure of learning rates with a panel per group, by title, each with axes of its own.

    ``log`` makes the axes of rates logarithmic. ``runs``, trainings with these rates in their order, add a panel with
    their convergence in ``metric`` (Fig. 4), in which each looks like the curve of rates at its place. ``path`` and
    ``formats`` are those of :func:`~mmgcp.analysis.style.save_figure`; a ValueError says if a run lacks the metric.
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
