"""How fast networks converge: the curves of Figs. 1 and 3 and the matching epochs of Table 2 (Wang et al., CVPR 2020).

The matching epoch is the first to reach the final value of the reference, trained with GAP. Higher metrics are better.
"""
import operator
import warnings
from collections.abc import Mapping, Sequence
from itertools import compress
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mmgcp.utils.logs import Run, read_runs
from mmgcp.utils.records import read_lines

from .style import label_ends, legend_label, looks_of, markers_at, save_figure, step_axis, use_style
from .tables import arrow, decimals, markdown_table

METRIC_NAMES = {'accuracy/top1': 'Top-1 accuracy (%)', 'accuracy/top5': 'Top-5 accuracy (%)',
                'coco/bbox_mAP': 'Box AP', 'coco/segm_mAP': 'Mask AP'}


def matching_epoch(curve: tuple[np.ndarray, np.ndarray], target: float) -> int | None:
    """Find the first epoch whose value is at least ``target``; None if there is none. NaN reaches nothing.

    ``curve`` are epochs, (n,) ascending, and values, (n,), as from :meth:`~mmgcp.utils.logs.Run.curve`.
    """
    epochs, values = curve
    reached = epochs[values >= target]
    return int(reached[0]) if len(reached) else None


def convergence_table(runs: Sequence[Run], metric: str = 'accuracy/top1', reference: str | None = None) -> str:
    """Compare runs in a Markdown table: what they reach, and when they match the final value of the reference.

    ``metric`` is a validation metric; ``reference`` is the name of the run to match, by default the first one.

    Raises:
        ValueError: If a run lacks the metric, no run is called ``reference``, or the reference ends with NaN.
    """
    reference = matched_run(runs, metric, reference)
    digits = decimals(reference.final(metric))
    cells = []
    for run in runs:
        epochs, values = run.curve(metric)
        best = np.fmax.reduce(values)  # NaN only if all are
        cells.append([run.name, str(epochs[-1]), f'{best:.{digits}f}', f'{values[-1]:.{digits}f}',
                      matching_cell(run, reference, metric)])
    unit = runs[0].unit
    return markdown_table(['run', f'{unit}s', 'best', 'final', f'matching {unit}'], cells)


def matching_cell(run: Run, reference: Run, metric: str) -> str:
    """Return the matching epoch of a run, and its difference from the reference's full training, as in Table 2."""
    if run is reference:
        return 'N/A'
    epochs, values = reference.curve(metric)
    epoch = matching_epoch(run.curve(metric), values[-1])
    return 'not reached' if epoch is None else f'{epoch} ({arrow(epoch - epochs[-1], 0)})'


def matched_run(runs: Sequence[Run], metric: str, reference: str | None = None) -> Run:
    """Return the run of a name, by default the first one; errors as :func:`convergence_table`."""
    run = next((run for run in runs if reference in (None, run.name)), None)
    if run is None:
        names = ', '.join(f"'{run.name}'" for run in runs)
        raise ValueError(f"No run is called '{reference}': choose the reference from {names}.")
    if np.isnan(run.final(metric)):
        raise ValueError(f"The reference '{run.name}' ends with NaN for '{metric}': choose another reference.")
    return run


def draw_convergence(ax: Axes, runs: Sequence[Run], metric: str = 'accuracy/top1', reference: str | None = None,
                     looks: Mapping[str, dict] | None = None) -> None:
    """Draw a metric against epochs for all runs, and where each first reaches the reference (Fig. 1).

    Arguments are those of :func:`draw_curves` and, with its errors, :func:`convergence_table`.
    """
    reference = matched_run(runs, metric, reference)
    target = reference.final(metric)
    lines = draw_curves(ax, runs, metric, looks)
    draw_target(ax, target, f'final of {reference.name}: {target:.{decimals(target)}f}')
    matches = 0
    for run, line in zip(runs, lines, strict=True):
        epochs, values = run.curve(metric)
        match = None if run is reference else matching_epoch((epochs, values), target)
        if match is not None:
            _mark_match(ax, match, values[epochs == match][0], line.get_color(), height=0.03 + 0.06 * (matches % 5))
            matches += 1
    label_ends(ax, lines)


def draw_curves(ax: Axes, runs: Sequence[Run], metric: str = 'accuracy/top1',
                looks: Mapping[str, dict] | None = None) -> list[Line2D]:
    """Draw a metric against epochs for all runs, which may differ in length, and nothing else (Fig. 4, right).

    ``looks``, by name of the run, are those of :func:`~mmgcp.analysis.style.looks_of`. All runs must have the metric.
    """
    step_axis(ax, runs[0].unit)
    ax.set_ylabel(METRIC_NAMES.get(metric, metric))
    looks = looks or looks_of(run.name for run in runs)
    lines = []
    for index, run in enumerate(runs):
        epochs, values = run.curve(metric)
        lines += ax.plot(epochs, values, **looks[run.name], label=legend_label(run.name),
                         markevery=markers_at(12, len(epochs), index, len(runs)))
    return lines


def draw_target(ax: Axes, value: float, text: str) -> None:
    """Draw a line across the axes at a value to reach, with a text at its left end."""
    ax.axhline(value, color='0.45', linewidth=0.9, linestyle=':', label=text)
    ax.text(0.01, value, text, color='0.4', fontsize='small', transform=ax.get_yaxis_transform(), va='bottom',
            bbox=dict(facecolor='white', edgecolor='none', alpha=0.8, pad=0.5))


def plot_convergence_panels(panels: Mapping[str, Sequence[Run]], metric: str, path: str | Path,
                            reference: str | None = None, formats: Sequence[str] = ('pdf', )) -> list[Path]:
    """Write a figure with the convergence curves of several networks, a panel for each, by title (Fig. 3).

    Arguments are those of :func:`convergence_table` and :func:`~mmgcp.analysis.style.save_figure`, with their errors.
    """
    columns = 2 if len(panels) == 4 else min(len(panels), 3)
    rows = -(-len(panels) // columns)
    with use_style():
        figure = Figure(figsize=(6.4 if columns == 1 else 5 * columns, 3.7 * rows))  # inches
        looks = looks_of(run.name for runs in panels.values() for run in runs)
        for place, (title, runs) in enumerate(panels.items(), 1):
            ax = figure.add_subplot(rows, columns, place)
            draw_convergence(ax, runs, metric, reference, looks)
            ax.set_title(title)
        return save_figure(figure, path, formats)


def _mark_match(ax, epoch, value, color, height):
    ax.plot(epoch, value, marker='o', markersize=10, fillstyle='none', color=color, linestyle='none')
    ax.annotate(f'{epoch}', (epoch, value), (epoch, height), textcoords=('data', 'axes fraction'), color=color,
                ha='center', arrowprops={'arrowstyle': '-', 'color': color, 'linewidth': 0.9, 'linestyle': ':',
                                         'shrinkB': 5})


def read_validated_runs(work_dirs: Sequence[str | Path], labels: Sequence[str] | None = None,
                        reference: str | None = None) -> list[Run]:
    """Read runs, some of which may be unfinished; leave out those without a validation yet, with a warning.

    Raises:
        ValueError: If no run has been validated, or not the first, which is the default reference; or as
            :func:`~mmgcp.utils.logs.read_runs`.
    """
    if labels and len(labels) != len(work_dirs):
        return read_runs(work_dirs, labels)  # raises
    validated = [_is_validated(Path(work_dir)) for work_dir in work_dirs]
    if not any(validated) or (reference is None and not validated[0]):
        return read_runs(work_dirs[:1])  # raises the error that says what is missing
    for work_dir in compress(work_dirs, map(operator.not_, validated)):
        warnings.warn(f"'{work_dir}' has not been validated yet and was left out.", stacklevel=2)
    runs = read_runs(list(compress(work_dirs, validated)), labels and list(compress(labels, validated)))
    for run in runs:
        key = 'epoch' if run.unit == 'epoch' else 'iter'
        trained, last = (run.train[-1].get(key, 0) if run.train else 0), run.val[-1]['step']
        if trained > last:
            warnings.warn(f"'{run.name}' was trained up to {run.unit} {trained}, but its last validation is that of "
                          f'{run.unit} {last}.', stacklevel=2)
    return runs


def _is_validated(work_dir):
    """Whether a training has logged a validation; True where there is no log, which is reported later."""
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # lines that are cut off are reported when the log is read
        return not logs or any('iter' not in record for log in logs for record in read_lines(log))
