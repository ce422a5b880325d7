"""Figure of robustness: what networks reach on each corruption, and how this falls with severity."""
from collections.abc import Mapping, Sequence, Sized
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple

from mmgcp.robustness.catalogue import BENCHMARKS

from .panels import LINE
from .robustness import RobustnessSummary, check_comparable, main_metrics, rows_of, severity_curve
from .style import legend_label, looks_of, save_figure, use_style

_HATCHES = ['', '///', '...', 'xxx', '\\\\\\']  # their number and that of the colours are coprime
_BARS = 0.8  # total width of a corruption's bars; corruptions are 1 apart, groups of them _SPACE more
_SPACE = 0.5


def draw_corruptions(ax: Axes, summaries: Sequence[RobustnessSummary], metric: str) -> None:
    """Draw a metric of networks as bars by corruption, in groups."""
    rows = rows_of(summaries, metric)
    groups = list(dict.fromkeys(group for group, _ in rows))
    centres = [index + _SPACE * groups.index(group) for index, (group, _) in enumerate(rows)]
    _draw_bars(ax, {name.replace('_', ' '): centre for (_, name), centre in zip(rows, centres, strict=True)}, {
        summary.result.name: [summary.corruptions.get(name, {}).get(metric, float('nan')) for _, name in rows]
        for summary in summaries})
    for group in groups:
        own = [centre for centre, row in zip(centres, rows, strict=True) if row[0] == group]
        ax.text((own[0] + own[-1]) / 2, 1.01, group, transform=ax.get_xaxis_transform(), ha='center', va='bottom',
                style='italic')
        if group != groups[-1]:
            ax.axvline(own[-1] + (1 + _SPACE) / 2, color='#808080', linewidth=0.8)
    ax.set_ylabel(_axis_label(summaries[0], metric))


def _draw_bars(ax: Axes, centres: Mapping[str, float], heights: Mapping[str, Sequence[float]]) -> None:
    """Draw the heights of each network beside each other at the places that ``centres`` names."""
    width, looks = _BARS / len(heights), looks_of(heights)
    for number, (name, values) in enumerate(heights.items()):
        left = [centre - _BARS / 2 + number * width for centre in centres.values()]
        ax.bar(left, values, width, align='edge', label=legend_label(name), edgecolor='white', linewidth=0.5,
               color=looks[name]['color'], hatch=_HATCHES[number % len(_HATCHES)])
    ax.set_xticks([*centres.values()], [*centres], rotation=40, ha='right', rotation_mode='anchor')
    ax.set_xlim(-0.6, max(centres.values()) + 0.6)
    ax.grid(visible=False, axis='x')


def draw_severities(ax: Axes, summaries: Sequence[RobustnessSummary], metric: str) -> None:
    """Draw the mean of a metric over corruptions against severity; 0 are the clean images."""
    looks = looks_of(summary.result.name for summary in summaries)
    for summary in summaries:
        ax.plot(*severity_curve(summary, metric), **looks[summary.result.name],
                label=legend_label(summary.result.name))
    ax.set_xticks(range(6))
    ax.set_xlim(-0.3, 5.3)
    ax.set_xlabel('Severity')
    ax.set_ylabel('mean ' + _axis_label(summaries[0], metric))


def plot_robustness(summaries: Sequence[RobustnessSummary], path: str | Path,
                    formats: Sequence[str] = ('pdf', )) -> list[Path]:
    """Write the figure of networks on one benchmark as PNG and vector formats, a row of panels per main metric.

    Raises:
        ValueError: If the networks were not measured on one benchmark, or ``path`` does not end in ``.png``.
    """
    check_comparable([summary.result for summary in summaries])
    metrics, form = main_metrics(summaries[0]), BENCHMARKS[summaries[0].result.benchmark]
    with use_style():
        # In inches.
        figure = Figure(figsize=(12 if form.severities else 8, 3.9 * len(metrics) + LINE * _lines(summaries)))
        if form.severities:
            axes = figure.subplots(len(metrics), 2, squeeze=False, width_ratios=(2.6, 1))
        else:
            axes = figure.subplots(len(metrics), 1, squeeze=False)
        for row, metric in zip(axes, metrics, strict=True):
            draw_corruptions(row[0], summaries, metric)
            if len(row) > 1:
                draw_severities(row[1], summaries, 'error' if form.measure == 'error' else metric)
        return _save(figure, axes[0], path, formats)


def plot_overview(summaries: Sequence[RobustnessSummary], path: str | Path,
                  formats: Sequence[str] = ('pdf', )) -> list[Path]:
    """Write one figure of networks on several benchmarks: their ``headline`` metrics in %, as bars.

    Raises:
        ValueError: If ``path`` does not end in ``.png``.
    """
    values = {summary.result.name: {} for summary in summaries}
    for summary in summaries:
        values[summary.result.name] |= {summary.label(metric): summary.headline.metrics[metric]
                                        for metric in summary.headline.metrics}
    columns = list(dict.fromkeys(label for row in values.values() for label in row))
    with use_style():
        figure = Figure(figsize=(8, 3.9 + LINE * _lines(values)))
        ax = figure.subplots()
        _draw_bars(ax, {label: place for place, label in enumerate(columns)},
                   {name: [row.get(label, float('nan')) for label in columns] for name, row in values.items()})
        ax.set_ylabel('%, lower is better')
        return _save(figure, [ax], path, formats)


def _lines(networks: Sized) -> int:
    """Count the lines of a legend with three networks each."""
    return -(-len(networks) // 3)


def _save(figure, axes, path, formats):
    """Add the legend of a figure, and write it."""
    handles, labels = zip(*(ax.get_legend_handles_labels() for ax in axes), strict=True)
    figure.legend([*zip(*handles, strict=True)], labels[0], loc='outside lower center',
                  handler_map={tuple: HandlerTuple(ndivide=None)}, handlelength=6, ncols=min(3, len(labels[0])))
    return save_figure(figure, path, formats)


def _axis_label(summary, metric):
    percent = '' if metric == 'uT5D' or 'mAP' in metric else '%, '
    return f"{summary.label(metric)}\n({percent}{'higher' if 'mAP' in metric else 'lower'} is better)"
