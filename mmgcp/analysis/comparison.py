"""Compare trainings of the same length at a glance: samples of the data, accuracy over epochs, and a sentence."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from mmgcp.utils.logs import Run

from .convergence import draw_curves
from .style import save_figure, use_style
from .tables import decimals, markdown_table

COLUMNS = 3


def comparison_sentence(runs: Sequence[Run], metric: str = 'accuracy/top1') -> str:
    """What the last validations of several trainings say, in words.

    Args:
        runs (Sequence[Run]): The runs, of the same length.
        metric (str): Name of a metric in percent.

    Returns:
        str: Such as 'New images named rightly after 4 passes over the same data: 43 % with A, 61 % with B'.

    Raises:
        ValueError: If a run lacks the metric, or the runs differ in length.
    """
    curves = [run.curve(metric) for run in runs]
    lengths = {int(epochs[-1]) for epochs, _ in curves}
    if len(lengths) > 1:
        raise ValueError(f'The runs have {sorted(lengths)} epochs: compare runs of the same length.')
    parts = [f'{values[-1]:.0f} % with {run.name}' for (_, values), run in zip(curves, runs, strict=True)]
    return f"New images named rightly after {lengths.pop()} passes over the same data: {', '.join(parts)}"


def plot_comparison(runs: Sequence[Run], pictures: Sequence[str | Path], path: str | Path,
                    metric: str = 'accuracy/top1') -> list[Path]:
    """Draw samples of the data, and the accuracy of each run after each epoch, under a sentence with the outcome.

    Args:
        runs (Sequence[Run]): The runs, of the same length.
        pictures (Sequence[str | Path]): Image files, each in a folder with the name of its class.
        path (str | Path): The PNG file to write.
        metric (str): Name of a metric in percent.

    Returns:
        list[Path]: The files written, the PNG first.

    Raises:
        ValueError: As :func:`comparison_sentence`, or ``path`` does not end in ``.png``.
    """
    sentence = comparison_sentence(runs, metric)
    with use_style():
        figure = Figure(figsize=(9, 4.4))
        figure.suptitle(sentence.replace(': ', ':\n'))
        left, right = figure.subfigures(1, 2, width_ratios=[1, 1.25])
        axes = left.subplots(-(-len(pictures) // COLUMNS), COLUMNS, squeeze=False).ravel()
        for ax in axes:
            ax.set_axis_off()
        for ax, picture in zip(axes, pictures, strict=False):
            ax.imshow(Image.open(picture).convert('RGB'))
            ax.set_title(Path(picture).parent.name.replace('_', ' '), fontsize='small')
        _draw_labelled_curves(right.subplots(), runs, metric)
        return save_figure(figure, path, formats=())


def _draw_labelled_curves(ax: Axes, runs: Sequence[Run], metric: str) -> None:
    for line, run in zip(draw_curves(ax, runs, metric), runs, strict=True):
        epoch, value = line.get_xdata()[-1], line.get_ydata()[-1]
        ax.annotate(run.name, (epoch, value), xytext=(-4, 6), textcoords='offset points', ha='right',
                    color=line.get_color())
    ax.set_xlabel('Passes over the training images')
    ax.set_ylabel('New images named rightly (%)')
    ax.margins(y=0.12)


def results_table(runs: Sequence[Run], metrics: Sequence[str]) -> str:
    """Last validation of each run, a column per metric, empty where a run did not measure it.

    Args:
        runs (Sequence[Run]): The runs.
        metrics (Sequence[str]): Names of validation metrics.

    Returns:
        str: Markdown table.

    Raises:
        ValueError: If no run measured one of the metrics.
    """
    for metric in metrics:
        if not any(metric in run.metrics for run in runs):
            known = sorted({name for run in runs for name in run.metrics})
            raise ValueError(f"No run measured '{metric}': choose from {', '.join(known)}.")
    return markdown_table(['run', 'unit', 'trained', *metrics],
                          [[run.name, run.unit, str(run.val[-1]['step']), *(_last(run, m) for m in metrics)]
                           for run in runs])


def _last(run, metric):
    if metric not in run.metrics:
        return ''
    value = run.curve(metric)[1][-1]
    return f'{value:.{decimals(np.nan_to_num(value))}f}'
