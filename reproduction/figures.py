"""Figures of a plan's results."""
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from mmgcp.analysis.convergence import METRIC_NAMES, draw_target
from mmgcp.analysis.figure_2 import plot_landscape
from mmgcp.analysis.robustness import summaries
from mmgcp.analysis.robustness_figure import plot_robustness
from mmgcp.analysis.style import DASHES, label_ends, looks_of, save_figure, step_axis, use_style
from mmgcp.utils.logs import Run

from .bands import draw_band
from .imagenette import CLASSIFIER_LR, LR
from .measured import Measured
from .paper_plan import NETWORKS, Variant
from .result_tables import averaged_robustness, epochs_of
from .smoothness import ratios
from .smoothness_figures import compared_landscapes, plot_curvatures, plot_ranges, plot_ratios, ranges_of

METRIC = 'accuracy/top1'
CURVES = {  # panels of each network by what they show
    '': [Variant(pooling, schedule) for pooling in ('gap', 'gcp_m') for schedule in ('norm', 'adju', 'fast')],
    ', down-sampling': [Variant(pooling, 'adju') for pooling in ('gap', 'gap_wo-ds', 'gcp', 'gcp_d', 'gcp_m')],
}
TUNED = [Variant('gap', lr, 'classifier-lr-0.1') for lr in ('norm', 'adju')]
FINALS = {  # rows of the figure of final accuracies: pooling and variation
    'GAP, one learning rate': ('gap', ''),
    'GAP, a tenth of it in its classifier': ('gap', 'classifier-lr-0.1'),
    'GCP_M, one learning rate': ('gcp_m', ''),
}


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
        plot_finals(finals(measured), folder / f'{plan}_accuracy.png')
    landscapes = compared_landscapes(measured)
    if landscapes:
        plot_landscape(landscapes, folder / f'{plan}_landscape.png', log=True, formats=())
    compared = ratios(measured)
    if compared:
        plot_ratios(compared, folder / f'{plan}_smoothness.png')
    ranges = ranges_of(measured)
    if ranges:
        plot_ranges(ranges, folder / f'{plan}_ranges.png')
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
            drawn.append([draw_band(ax, name, [run.curve(METRIC) for run in runs], looks[name])
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


def finals(measured: Measured) -> dict[str, dict[str, list[float]]]:
    """Accuracies after the last epoch by title of the panel and key of :data:`FINALS`, of all seeds."""
    panels = {}
    for network in measured.networks:
        for schedule in ('norm', 'adju'):
            for name, (pooling, variation) in FINALS.items():
                training = Variant(pooling, schedule, variation).name(network)
                values = list(measured.final(training).values())
                if values:
                    epochs = epochs_of(measured.runs[training])
                    panels.setdefault(f'{NETWORKS[network]}, {epochs} epochs (LR_{schedule})', {})[name] = values
    return panels


def plot_finals(panels: Mapping[str, Mapping[str, Sequence[float]]], path: Path) -> list[Path]:
    """Draw accuracies after the last epoch: a small dot for each seed, and the mean with its number.

    Args:
        panels (Mapping[str, Mapping[str, Sequence[float]]]): From :func:`finals`.
        path (Path): The PNG file to write.

    Returns:
        list[Path]: The files written.
    """
    rows = list(dict.fromkeys(name for values in panels.values() for name in values))
    looks = looks_of(rows)
    with use_style():
        figure = Figure(figsize=(3 + 2.7 * len(panels), 0.9 + 0.4 * len(rows)))  # inches
        axes = figure.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True)[0]
        for ax, (title, values) in zip(axes, panels.items(), strict=True):
            for name, its in values.items():
                row, color = rows.index(name), looks[name]['color']
                ax.plot(its, np.full(len(its), row), color=color, marker='o', linestyle='none', alpha=0.35,
                        markeredgewidth=0)
                ax.plot(fmean(its), row, color=color, marker=looks[name]['marker'], markersize=8)
                ax.annotate(f'{fmean(its):.1f}', (fmean(its), row), (0, 8), textcoords='offset points', ha='center',
                            color=color)
            ax.set_title(title)
            ax.set_xlabel(METRIC_NAMES[METRIC])
        axes[0].set_yticks(range(len(rows)), rows)
        axes[0].set_ylim(len(rows) - 0.5, -0.7)
        for label, name in zip(axes[0].get_yticklabels(), rows, strict=True):
            label.set_color(looks[name]['color'])
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


def _runs(measured, network, variants):
    """Runs of trainings of a network by title, in the order of the variants."""
    trainings = {training.variant: training for training in measured.trainings if training.network == network}
    return {trainings[variant].short_title: list(measured.runs[trainings[variant].name].values())
            for variant in variants if variant in trainings}
