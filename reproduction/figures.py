"""Figures of a plan's results."""
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from mmgcp.analysis.convergence import METRIC_NAMES, draw_target
from mmgcp.analysis.curvature import CurvatureLog
from mmgcp.analysis.figure_2 import LandscapeLog, plot_landscape
from mmgcp.analysis.robustness import summaries
from mmgcp.analysis.robustness_figure import plot_robustness
from mmgcp.analysis.style import COLORS, DASHES, label_ends, looks_of, save_figure, step_axis, use_style
from mmgcp.utils.logs import Run

from .imagenette import CLASSIFIER_LR, LR
from .measured import Measured
from .paper_plan import NETWORKS, Variant
from .result_tables import averaged_robustness
from .smoothness import CURVATURE, Ratio, ratios

METRIC = 'accuracy/top1'
CURVES = {  # panels of each network by what they show
    '': [Variant(pooling, schedule) for pooling in ('gap', 'gcp_m') for schedule in ('norm', 'adju', 'fast')],
    ', down-sampling': [Variant(pooling, 'adju') for pooling in ('gap', 'gap_wo-ds', 'gcp', 'gcp_d', 'gcp_m')],
}
TUNED = [Variant('gap', lr, 'classifier-lr-0.1') for lr in ('norm', 'adju')]


def make_figures(measured: Measured, folder: Path, plan: str) -> None:
    """Draw the figures of which there are results: ``PLAN_convergence.png``, ``_landscape``, ``_smoothness``, ..."""
    panels = {NETWORKS[network] + suffix: _runs(measured, network, variants)
              for network in measured.networks for suffix, variants in CURVES.items()}
    panels = {title: trainings for title, trainings in panels.items() if len(trainings) > 1}
    if panels:
        plot_curves(panels, folder / f'{plan}_convergence.png', target='GAP, LR_norm')
    panels = {NETWORKS[network]: _runs(measured, network, [Variant('gap', 'norm'), *TUNED, *(
        Variant('gcp_m', lr) for lr in ('norm', 'adju'))]) for network in measured.networks
              if _runs(measured, network, TUNED)}
    if panels:
        plot_curves(panels, folder / f'{plan}_classifier.png', target='GAP, LR_norm')
    landscapes = compared_landscapes(measured)
    if landscapes:
        plot_landscape(landscapes, folder / f'{plan}_landscape.png', log=True, formats=())
    compared = ratios(measured)
    if compared:
        plot_ratios(compared, folder / f'{plan}_smoothness.png')
    curvatures = {}
    for training in measured.trainings:
        logs = measured.curvatures(training.name)
        if logs:
            curvatures.setdefault(NETWORKS[training.network], {})[training.short_title] = list(logs.values())
    if curvatures:
        plot_curvatures(curvatures, folder / f'{plan}_curvature.png')
    averaged = averaged_robustness(measured, 'robustness_c')
    if averaged:
        plot_robustness(summaries(averaged, partial=True), folder / f'{plan}_robustness.png', formats=())


def compared_landscapes(measured: Measured) -> dict[str, list[LandscapeLog]]:
    """Landscapes by the title of their panel: those of the first seed that most trainings of the network have."""
    landscapes = {}
    # GAP first, in the looks of the other figures.
    for training in sorted(measured.plan.trainings, key=lambda one: not one.variant.pooling.startswith('gap')):
        for seed, landscape in measured.landscapes(training.name).items():
            panel = landscapes.setdefault(f'{training.network_title}, steps {landscape.steps}', {})
            panel.setdefault(seed, []).append(replace(landscape, name=training.short_title))
    return {title: max((by_seed[seed] for seed in sorted(by_seed)), key=len) for title, by_seed in landscapes.items()}


def plot_curves(panels: Mapping[str, Mapping[str, Sequence[Run]]], path: Path, target: str | None = None) -> list[Path]:
    """Draw top-1 accuracy against epochs, the mean over the seeds in the band from smallest to largest (Fig. 3).

    Args:
        panels (Mapping[str, Mapping[str, Sequence[Run]]]): By title of the panel and by name of the training, the runs
            of its seeds, which count at the epochs that they validated.
        path (Path): The PNG file to write.
        target (str, optional): Training whose final mean is drawn as a line across its panel.

    Returns:
        list[Path]: The files written.
    """
    with use_style():
        figure = Figure(figsize=(6.4 if len(panels) == 1 else 5.6 * len(panels), 3.9))  # inches
        axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        looks = looks_of(name for trainings in panels.values() for name in trainings)
        drawn = []
        for ax, (title, trainings) in zip(axes, panels.items(), strict=True):
            drawn.append([_draw(ax, name, [run.curve(METRIC) for run in runs], looks[name])
                          for name, runs in trainings.items()])
            if target in trainings:
                final = np.mean([run.curve(METRIC)[1][-1] for run in trainings[target]])
                draw_target(ax, final, f'final of {target}')
            ax.set_title(title)
            step_axis(ax, 'epoch')
        for ax, lines in zip(axes, drawn, strict=True):  # once the axis that they share has its limits
            label_ends(ax, lines)
        axes[0].set_ylabel(METRIC_NAMES[METRIC])
        return save_figure(figure, path, formats=())


def accuracy_by_rate(measured: Measured) -> dict[tuple[str, float], dict[float, float]]:
    """Accuracies after the last epoch, mean over the seeds, by learning rate, of the trainings that set one.

    Returns:
        dict[tuple[str, float], dict[float, float]]: By the title of the training up to the rate, ``'-at-...'``, and by
        the rate of the classifier as a factor of that of the other layers; where there are at least three rates.
    """
    found = {}
    for training in measured.trainings:
        finals = measured.final(training.name).values()
        if LR in training.options and finals:
            key = training.title.partition(' at ')[0], training.options.get(CLASSIFIER_LR, 1)
            found.setdefault(key, {})[training.options[LR]] = fmean(finals)
    return {key: dict(sorted(values.items())) for key, values in sorted(found.items()) if len(values) > 2}


def plot_rates(curves: Mapping[tuple[str, float], Mapping[float, float]], path: Path) -> list[Path]:
    """Draw accuracies against the learning rate of all layers but the classifier, whose rate the dashes tell.

    Each network has a panel.

    Args:
        curves (Mapping[tuple[str, float], Mapping[float, float]]): From :func:`accuracy_by_rate`.
        path (Path): The PNG file to write.

    Returns:
        list[Path]: The files written.
    """
    with use_style():
        networks = list(dict.fromkeys(name.partition(', ')[0] for name, _ in curves))
        figure = Figure(figsize=(7.6 * len(networks), 3.9))  # inches
        axes = dict(zip(networks, figure.subplots(1, len(networks), squeeze=False)[0], strict=True))
        factors = sorted({factor for _, factor in curves}, key=lambda factor: (factor != 1, factor))
        rates = sorted({rate for values in curves.values() for rate in values})
        for (name, factor), values in curves.items():
            axes[name.partition(', ')[0]].plot(
                values.keys(), values.values(), **looks_of([name])[name] | dict(
                    linestyle=DASHES[factors.index(factor) % len(DASHES)]),
                label=name if factor == 1 else f'{name}, classifier lr {factor:g}')
        for ax in axes.values():
            ax.set_xscale('log')
            ax.set_xticks(rates, [f'{rate:g}' for rate in rates])
            ax.xaxis.set_minor_formatter(NullFormatter())
            ax.set_xlabel('Learning rate of all layers but the classifier')
            ax.set_ylabel(METRIC_NAMES[METRIC])
            label_ends(ax, ax.get_lines())
        return save_figure(figure, path, formats=())


def plot_ratios(compared: Sequence[Ratio], path: Path) -> list[Path]:
    """Draw ratios of GCP to GAP with their intervals: a panel for each GAP, a row for each notion.

    Left of 1 GCP is smoother.

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
            ax.set_title(network)
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
    for offset, name, color, marker in ((-0.14, 'same_step', COLORS[0], 'o'), (0.14, 'same_loss', COLORS[1], 's')):
        mean, low, high = np.exp([getattr(ratio, name)[:3] for ratio in compared]).T
        told = np.isfinite(high)
        ax.hlines(rows[told] + offset, low[told], high[told], color=color)
        ax.plot(mean, rows + offset, color=color, marker=marker, linestyle='none',
                label={'same_step': 'at equal iterations', 'same_loss': 'at equal loss'}[name])
    ax.axvline(1, color='#808080', linewidth=0.8)


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
                lines = [_draw(ax, name, [(log.column('step'), of(log)) for log in logs], looks[name])
                         for name, logs in trainings.items()]
                ax.set_title(title)
                ax.set_ylabel(f'{quantity} of the Hessian')
                step_axis(ax, next(iter(trainings.values()))[0].unit)
                label_ends(ax, lines)
        return save_figure(figure, path, formats=())


def _runs(measured, network, variants):
    """Runs of trainings of a network by title, in the order of the variants."""
    trainings = {training.variant: training for training in measured.trainings if training.network == network}
    return {trainings[variant].short_title: list(measured.runs[trainings[variant].name].values())
            for variant in variants if variant in trainings}


def _draw(ax: Axes, name, curves, look):
    """Draw the mean of curves, epochs and values of each seed, in the band between the smallest and the largest."""
    epochs = np.unique(np.concatenate([steps for steps, _ in curves]))
    values = np.full((len(curves), len(epochs)), np.nan)
    for row, (steps, its) in zip(values, curves, strict=True):
        row[np.searchsorted(epochs, steps)] = its
    line, = ax.plot(epochs, np.nanmean(values, axis=0), **look, label=name)
    ax.fill_between(epochs, np.nanmin(values, axis=0), np.nanmax(values, axis=0), color=look['color'], alpha=0.15,
                    linewidth=0)
    return line
