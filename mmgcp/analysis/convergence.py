"""How fast networks converge: the curves of Figs. 1 and 3 and the matching epochs of Table 2 (Wang et al., CVPR 2020).

The matching epoch is the first that reaches what the reference, a training with average pooling, has after its last
epoch. Metrics are better when higher.
"""
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mmgcp.utils.logs import Run, read_runs
from mmgcp.utils.records import read_lines

from .style import label_ends, looks_of, markers_at, save_figure, step_axis, use_style
from .tables import arrow, decimals, markdown_table

METRIC_NAMES = {
    'accuracy/top1': 'Top-1 accuracy (%)',
    'accuracy/top5': 'Top-5 accuracy (%)',
    'coco/bbox_mAP': 'Box AP',
    'coco/segm_mAP': 'Mask AP',
}


def matching_epoch(curve: tuple[np.ndarray, np.ndarray], target: float) -> int | None:
    """Find the first epoch whose value is at least ``target``; None if there is none. NaN reaches nothing.

    ``curve`` are epochs, (n,) ascending, and values, (n,), as from :meth:`~mmgcp.utils.logs.Run.curve`.
    """
    epochs, values = curve
    reached = epochs[values >= target]
    return int(reached[0]) if len(reached) else None


def convergence_table(runs: Sequence[Run], metric: str = 'accuracy/top1', reference: str | None = None) -> str:
    """Compare runs in a Markdown table: what they reach, and when they match the final value of the reference.

    Args:
        runs (Sequence[Run]): The runs.
        metric (str): Name of a validation metric.
        reference (str, optional): Name of the run to match. Default: the first one.

    Raises:
        ValueError: A run lacks the metric, no run is called ``reference``, or the reference ends with NaN.
    """
    reference, target = matched_run(runs, metric, reference)
    digits = decimals(target)
    cells = []
    for run in runs:
        epochs, values = run.curve(metric)
        best = max(values[~np.isnan(values)], default=np.nan)
        cells.append([run.name, str(epochs[-1]), f'{best:.{digits}f}', f'{values[-1]:.{digits}f}',
                      matching_cell(run, reference, metric)])
    unit = runs[0].unit
    return markdown_table(['run', f'{unit}s', 'best', 'final', f'matching {unit}'], cells)


def matching_cell(run: Run, reference: Run, metric: str) -> str:
    """The matching epoch of a run, and its difference from the full training of the reference, as in Table 2."""
    if run is reference:
        return 'N/A'
    epochs, values = reference.curve(metric)
    epoch = matching_epoch(run.curve(metric), values[-1])
    return 'not reached' if epoch is None else f'{epoch} ({arrow(epoch - epochs[-1], 0)})'


def matched_run(runs: Sequence[Run], metric: str, reference: str | None = None) -> tuple[Run, float]:
    """Return the run of a name, by default the first one, and its final value; errors as :func:`convergence_table`."""
    run = next((run for run in runs if reference in (None, run.name)), None)
    if run is None:
        names = ', '.join(f"'{run.name}'" for run in runs)
        raise ValueError(f"No run is called '{reference}': choose the reference from {names}.")
    final = float(run.curve(metric)[1][-1])
    if np.isnan(final):
        raise ValueError(f"The reference '{run.name}' ends with NaN for '{metric}': choose another reference.")
    return run, final


def draw_convergence(ax: Axes, runs: Sequence[Run], metric: str = 'accuracy/top1', reference: str | None = None,
                     looks: Mapping[str, dict] | None = None) -> None:
    """Draw a metric against epochs for all runs, and where each first reaches the reference (Fig. 1).

    Arguments are those of :func:`draw_curves` and, with its errors, :func:`convergence_table`.
    """
    reference, target = matched_run(runs, metric, reference)
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

    Args:
        ax (Axes): Where to draw: a whole figure, or one panel of several.
        runs (Sequence[Run]): The runs.
        metric (str): Name of a validation metric.
        looks (Mapping[str, dict], optional): From :func:`~mmgcp.analysis.style.looks_of`, by name of the run.

    Raises:
        ValueError: If a run lacks the metric.
    """
    step_axis(ax, runs[0].unit)
    ax.set_ylabel(METRIC_NAMES.get(metric, metric))
    looks = looks or looks_of(run.name for run in runs)
    lines = []
    for index, run in enumerate(runs):
        epochs, values = run.curve(metric)
        lines += ax.plot(epochs, values, **looks[run.name], label=run.name,
                         markevery=markers_at(12, len(epochs), index, len(runs)))
    return lines


def draw_target(ax: Axes, value: float, text: str) -> None:
    """Draw a line across the axes at a value to reach, with a text at its left end."""
    ax.axhline(value, color='0.45', linewidth=0.9, linestyle=':', label=text)
    ax.text(0.01, value, text, color='0.4', fontsize='small', transform=ax.get_yaxis_transform(), va='bottom',
            bbox=dict(facecolor='white', edgecolor='none', alpha=0.8, pad=0.5))


def plot_convergence_panels(panels: Mapping[str, Sequence[Run]], metric: str, path: str | Path,
                            reference: str | None = None, formats: Sequence[str] = ('pdf', )) -> list[Path]:
    """Write a figure with the convergence curves of several networks, a panel for each (Fig. 3).

    Args:
        panels (Mapping[str, Sequence[Run]]): Runs by title of the panel.
        metric (str): Name of a validation metric.
        path (str | Path): The PNG file to write.
        reference (str, optional): Name of the run to match in each panel. Default: the first one of each.
        formats (Sequence[str]): As for :func:`~mmgcp.analysis.style.save_figure`.

    Raises:
        ValueError: As :func:`convergence_table`, or if ``path`` does not end in ``.png``.
    """
    columns = len(panels) if len(panels) <= 3 else 2 if len(panels) == 4 else 3
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
    """Ring the point of a curve that matches the reference, and lead from it to its epoch, written at ``height``."""
    ax.plot(epoch, value, marker='o', markersize=10, fillstyle='none', color=color, linestyle='none')
    ax.annotate(f'{epoch}', (epoch, value), (epoch, height), textcoords=('data', 'axes fraction'), color=color,
                ha='center', arrowprops={'arrowstyle': '-', 'color': color, 'linewidth': 0.9, 'linestyle': ':',
                                         'shrinkB': 5})


def read_validated_runs(work_dirs: Sequence[str | Path], labels: Sequence[str] | None = None,
                        reference: str | None = None) -> list[Run]:
    """Read runs, some of which may still be going on, with a warning for what is not validated yet and left out.

    Args:
        work_dirs (Sequence[str | Path]): One work directory per run.
        labels (Sequence[str], optional): One name per run. Default: names of the folders.
        reference (str, optional): Name of the run to match. Default: the first one.

    Raises:
        ValueError: If the first run, which is the reference by default, has not been validated, none is left, or as
            :func:`~mmgcp.utils.logs.read_runs`.
    """
    validated = [_is_validated(Path(work_dir)) for work_dir in work_dirs]
    if not any(validated) or (reference is None and not validated[0]):
        return read_runs(work_dirs[:1])  # which tells what is missing
    for work_dir in (work_dir for work_dir, known in zip(work_dirs, validated, strict=True) if not known):
        warnings.warn(f"'{work_dir}' has not been validated yet and was left out.", stacklevel=2)
    kept = [index for index, known in enumerate(validated) if known]
    runs = read_runs([work_dirs[index] for index in kept], labels and [labels[index] for index in kept])
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
