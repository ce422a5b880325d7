"""Figures of smoothness: landscapes, their ranges, ratios of GCP to GAP, and curvature."""
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from mmgcp.analysis.curvature import CurvatureLog
from mmgcp.analysis.figure_2 import LandscapeLog
from mmgcp.analysis.style import COLORS, label_ends, looks_of, save_figure, step_axis, use_style

from .bands import draw_band
from .effects import LEVEL
from .measured import Measured
from .smoothness import BASES, CURVATURE, GCP, PLACES, Course, Ratio, course, positive

RANGES = {'range of the loss, Eq. 3': 'Range of the loss', 'range of the gradient, Eq. 4': 'Range of the gradient'}


def compared_landscapes(measured: Measured) -> dict[str, list[LandscapeLog]]:
    """Landscapes by the title of their panel: those of the first seed that most trainings of the network have."""
    landscapes = {}
    # GAP first, in the looks of the other figures.
    for training in sorted(measured.plan.trainings, key=lambda one: not one.variant.pooling.startswith('gap')):
        for seed, landscape in measured.landscapes(training.name).items():
            panel = landscapes.setdefault(f'{training.network_title}, steps {landscape.steps}', {})
            panel.setdefault(seed, []).append(replace(landscape, name=training.short_title))
    return {title: max((by_seed[seed] for seed in sorted(by_seed)), key=len) for title, by_seed in landscapes.items()}


def plot_ratios(compared: Sequence[Ratio], path: Path) -> list[Path]:
    """Draw ratios of GCP to GAP with their intervals: a panel for each GAP, a row for each notion.

    Ratios that differ from 1 significantly are filled, all others are hollow.

    Args:
        compared (Sequence[Ratio]): The ratios, at least one.
        path (Path): The PNG file to write.

    Returns:
        list[Path]: The files written.
    """
    panels, rows = {}, list(dict.fromkeys((ratio.place, ratio.quantity) for ratio in compared))
    for ratio in compared:
        panels.setdefault((ratio.network, ratio.over), []).append(ratio)
    with use_style():
        figure = Figure(figsize=(3.4 + 3.1 * len(panels), 1.4 + 0.28 * len(rows)))  # inches
        axes = figure.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True)[0]
        for ax, ((network, over), shown) in zip(axes, panels.items(), strict=True):
            _draw_ratios(ax, shown, np.array([rows.index((ratio.place, ratio.quantity)) for ratio in shown]))
            ax.set_title(f'{network}, over {over}')
            ax.set_xlabel(f'GCP w/o DS over {over}')
        axes[0].set_yticks(range(len(rows)), map(': '.join, rows))
        axes[0].invert_yaxis()
        axes[0].set_xscale('log')
        axes[0].xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes[0].xaxis.set_major_formatter(StrMethodFormatter('{x:g}'))
        axes[0].xaxis.set_minor_formatter(NullFormatter())
        figure.legend(*axes[0].get_legend_handles_labels(), loc='outside upper right', ncols=2)
        return save_figure(figure, path, formats=())


def _draw_ratios(ax: Axes, compared, rows):
    for number, (offset, name, color, marker) in enumerate((
            (-0.14, 'same_step', COLORS[0], 'o'), (0.14, 'same_loss', COLORS[1], 's'))):
        mean, low, high = np.exp([getattr(ratio, name)[:3] for ratio in compared]).T
        told = np.isfinite(high)
        ax.hlines(rows[told] + offset, low[told], high[told], color=color)
        filled = np.array([ratio.verdicts[number][1] < LEVEL for ratio in compared])
        for shown, face, label in ((~filled, 'white', ''), (filled, color, ', significant')):
            ax.plot(mean[shown], rows[shown] + offset, color=color, marker=marker, linestyle='none',
                    markerfacecolor=face,
                    label={'same_step': 'at equal iterations', 'same_loss': 'at equal loss'}[name] + label)
    ax.axvline(1, color='#808080', linewidth=0.8)


def ranges_of(measured: Measured) -> dict[tuple[str, str], dict[str, list[Course]]]:
    """Ranges of Fig. 2 along the trainings that :func:`~reproduction.smoothness.ratios` compares.

    Returns:
        dict[tuple[str, str], dict[str, list[Course]]]: By network and place and by key of :data:`RANGES`, then by
        training, the seeds; without what was not measured, or has no logarithm.
    """
    found = {}
    for training in sorted(measured.plan.trainings, key=lambda one: one.variant == GCP):
        for at, place in PLACES.items() if training.variant in (*BASES, GCP) else ():
            for quantity in RANGES:
                courses = [positive(course(log, quantity)) for log in measured.landscapes(training.name, at).values()]
                courses = [one for one in courses if len(one.steps)]
                if courses:
                    key = f'{training.network_title}, {place}', quantity
                    found.setdefault(key, {})[training.short_title] = courses
    return found


def plot_ranges(panels: Mapping[tuple[str, str], Mapping[str, Sequence[Course]]], path: Path) -> list[Path]:
    """Draw ranges along trainings, means and ranges over the seeds: a column for each place, a row for each quantity.

    Args:
        panels (Mapping[tuple[str, str], Mapping[str, Sequence[Course]]]): From :func:`ranges_of`.
        path (Path): The PNG file to write.

    Returns:
        list[Path]: The files written.
    """
    places, quantities = (list(dict.fromkeys(names)) for names in zip(*panels, strict=True))
    with use_style():
        figure = Figure(figsize=(2.2 + 3 * len(places), 2.7 * len(quantities)))  # inches
        axes = figure.subplots(len(quantities), len(places), squeeze=False)
        looks = looks_of(name for trainings in panels.values() for name in trainings)
        for (place, quantity), trainings in panels.items():
            ax = axes[quantities.index(quantity), places.index(place)]
            lines = [draw_band(ax, name, [(one.steps, one.values) for one in courses], looks[name])
                     for name, courses in trainings.items()]
            ax.set_yscale('log')
            ax.set_title(place)
            step_axis(ax, 'training step', 5)
            if place == places[0]:
                ax.set_ylabel(RANGES[quantity])
            if place == places[-1]:
                label_ends(ax, lines)
        return save_figure(figure, path, formats=())


def plot_curvatures(panels: Mapping[str, Mapping[str, Sequence[CurvatureLog]]], path: Path) -> list[Path]:
    """Draw largest eigenvalue and trace of the Hessian along trainings, means and ranges over the seeds.

    Args:
        panels (Mapping[str, Mapping[str, Sequence[CurvatureLog]]]): By network and by name of the training, the seeds.
        path (Path): The PNG file to write.

    Returns:
        list[Path]: The files written.
    """
    with use_style():
        figure = Figure(figsize=(11.2, 3.9 * len(panels)))  # inches
        rows = figure.subplots(len(panels), 2, squeeze=False)
        looks = looks_of(name for trainings in panels.values() for name in trainings)
        for axes, (title, trainings) in zip(rows, panels.items(), strict=True):
            for ax, quantity, of in zip(axes, ('Largest eigenvalue', 'Trace'), CURVATURE.values(), strict=True):
                lines = [draw_band(ax, name, [(log.column('step'), of(log)) for log in logs], looks[name])
                         for name, logs in trainings.items()]
                ax.set_title(title)
                ax.set_ylabel(f'{quantity} of the Hessian')
                step_axis(ax, next(iter(trainings.values()))[0].unit)
                label_ends(ax, lines)
        return save_figure(figure, path, formats=())
