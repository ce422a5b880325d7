"""How fast networks converge: the curves of Figs. 1 and 3 and the matching epochs of Table 2 (Wang et al., CVPR 2020).

Metrics are taken to be better when higher.
"""
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .style import save_figure, use_style
from .tables import decimals, markdown_table

METRIC_NAMES = {
    'accuracy/top1': 'Top-1 accuracy (%)',
    'accuracy/top5': 'Top-5 accuracy (%)',
    'coco/bbox_mAP': 'Box AP',
    'coco/segm_mAP': 'Mask AP',
}


@dataclass(frozen=True)
class ConvergenceRow:
    """One run in the manner of Table 2; epochs are iterations where the training counts these.

    Attributes:
        name (str): The run.
        epochs (int): Epochs trained up to the last validation.
        best (float): Highest value of the metric; NaN if all are.
        best_epoch (int | None): First epoch with this value; None if there is none.
        final (float): Value at the last validation.
        matching_epoch (int | None): First epoch that reaches the best value of the reference; None if none does, and
            for the reference itself.
    """
    name: str
    epochs: int
    best: float
    best_epoch: int | None
    final: float
    matching_epoch: int | None


def matching_epoch(curve, target):
    """Finds the 'matching epoch' of Table 2.

    Args:
        curve (tuple[np.ndarray, np.ndarray]): Epochs, (n,) ascending, and values, (n,), as from ``Run.curve``.
        target (float): Value to reach, in the unit of the curve's values.

    Returns:
        int | None: First epoch whose value is at least ``target``; None if there is none. NaN reaches nothing.
    """
    epochs, values = curve
    reached = epochs[values >= target]
    return int(reached[0]) if len(reached) else None


def convergence_table(runs, metric='accuracy/top1', reference=None):
    """Compares runs as Table 2 does: what they reach, and when they match the reference.

    The reference counts with its best value: that is the accuracy which a training is reported by.

    Args:
        runs (Sequence[Run]): The runs.
        metric (str): Name of a validation metric.
        reference (str, optional): Name of the run to match; by default the first one.

    Returns:
        list[ConvergenceRow]: One row per run, in the order given.

    Raises:
        ValueError: A run lacks the metric, no run is called ``reference``, or the reference has nothing but NaN.
    """
    reference, target = _target(runs, metric, reference)
    return [_row(run.name, run.curve(metric), None if run is reference else target) for run in runs]


def format_table(rows, unit='epoch', reference=None):
    """Writes rows of :func:`convergence_table` as a Markdown table.

    A matching epoch is followed by its difference from the full training of the reference, as in Table 2.

    Args:
        rows (Sequence[ConvergenceRow]): The rows.
        unit (str): 'epoch' or 'iteration'.
        reference (str, optional): Name of the reference; by default the first row's.

    Returns:
        str: The table, one line per row under two lines of header.
    """
    reference = next(row for row in rows if reference in (None, row.name))
    digits = decimals(reference.best)
    header = ['run', f'{unit}s', 'best', f'best {unit}', 'final', f'matching {unit}']
    cells = [[row.name, str(row.epochs), f'{row.best:.{digits}f}',
              'N/A' if row.best_epoch is None else str(row.best_epoch), f'{row.final:.{digits}f}',
              'N/A' if row is reference else _matching_cell(row, reference)] for row in rows]
    return markdown_table(header, cells)


def draw_convergence(ax, runs, metric='accuracy/top1', reference=None):
    """Draws a metric against epochs for all runs, and where each first reaches the reference (Fig. 1).

    Args:
        ax (matplotlib.axes.Axes): Where to draw: a whole figure, or one panel of several (Fig. 3).
        runs (Sequence[Run]): The runs; they may differ in length.
        metric (str): Name of a validation metric.
        reference (str, optional): Name of the run to match; by default the first one.

    Raises:
        ValueError: As :func:`convergence_table`.
    """
    reference, target = _target(runs, metric, reference)
    ax.set_xlabel(runs[0].unit.capitalize())
    ax.set_ylabel(METRIC_NAMES.get(metric, metric))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    matches = 0
    for index, run in enumerate(runs):
        epochs, values = run.curve(metric)
        # About a dozen markers a curve, and not all curves at the same epochs: else close curves hide each other.
        spacing = -(-len(epochs) // 12)
        line, = ax.plot(epochs, values, label=run.name, markevery=(index * spacing // len(runs), spacing))
        match = None if run is reference else matching_epoch((epochs, values), target)
        if match is not None:
            _mark_match(ax, match, values[epochs == match][0], line.get_color(), height=0.03 + 0.06 * (matches % 5))
            matches += 1
    ax.axhline(target, color='0.45', linewidth=0.9, linestyle=':',
               label=f'best of {reference.name}: {target:.{decimals(target)}f}')


def plot_convergence(runs, metric, path, reference=None, title=None, formats=('pdf',)):
    """Writes the convergence figure of several runs (Fig. 1).

    Args:
        runs (Sequence[Run]): The runs.
        metric (str): Name of a validation metric.
        path (str | Path): The PNG file to write.
        reference (str, optional): Name of the run to match; by default the first one.
        title (str, optional): Title of the figure.
        formats (Sequence[str]): Vector formats to write beside the PNG, 'pdf' or 'svg'.

    Returns:
        list[Path]: The files written, the PNG first.

    Raises:
        ValueError: As :func:`convergence_table`, or ``path`` does not end in ``.png``.
    """
    with use_style():
        figure = Figure()
        ax = figure.add_subplot()
        draw_convergence(ax, runs, metric, reference)
        ax.set_title(title or 'Convergence curves')
        _add_legend(figure, ax)
        return save_figure(figure, path, formats)


def _target(runs, metric, reference):
    """Returns the reference run and the best value of its curve."""
    run = next((run for run in runs if reference in (None, run.name)), None)
    if run is None:
        names = ', '.join(f"'{run.name}'" for run in runs)
        raise ValueError(f"No run is called '{reference}': choose the reference from {names}.")
    values = run.curve(metric)[1]
    if np.isnan(values).all():
        raise ValueError(f"The reference '{run.name}' has no value of '{metric}' but NaN: choose another reference.")
    return run, float(np.nanmax(values))


def _add_legend(figure, ax):
    """Puts the legend below the axes, where it covers no curve, and makes room for it."""
    labels = ax.get_legend_handles_labels()[1]
    columns = 2 if max(map(len, labels)) <= 40 else 1  # longer names do not fit the width twice
    figure.set_figheight(3.7 + 0.19 * -(-len(labels) // columns))  # inches: the axes keep their height
    figure.legend(loc='outside lower center', ncols=columns, handlelength=4)


def _row(name, curve, target):
    """Makes the row of one run; ``target`` is None for the reference."""
    epochs, values = curve
    # An all-NaN curve has no maximum; -inf stands for NaN so that it is never the best.
    best = int(np.argmax(np.where(np.isnan(values), -np.inf, values)))
    return ConvergenceRow(
        name=name,
        epochs=int(epochs[-1]),
        best=float(values[best]),
        best_epoch=None if np.isnan(values[best]) else int(epochs[best]),
        final=float(values[-1]),
        matching_epoch=None if target is None else matching_epoch(curve, target))


def _matching_cell(row, reference):
    if row.matching_epoch is None:
        return 'not reached'
    return f'{row.matching_epoch} ({row.matching_epoch - reference.epochs:+d})'


def _mark_match(ax, epoch, value, color, height):
    """Rings the point of a curve that matches the reference, and leads from it down to its epoch.

    ``height`` (share of the axes) is where the number stands: those of several runs must not overlap.
    """
    ax.plot(epoch, value, marker='o', markersize=10, fillstyle='none', color=color, linestyle='none')
    ax.annotate(f'{epoch}', (epoch, value), (epoch, height), textcoords=('data', 'axes fraction'), color=color,
                ha='center', arrowprops={'arrowstyle': '-', 'color': color, 'linewidth': 0.9, 'linestyle': ':',
                                         'shrinkB': 5})
