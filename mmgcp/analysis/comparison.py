"""Compare trainings of the same length at a glance: samples of the data, accuracy over epochs, and a sentence."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from mmgcp.utils.logs import Run, check_measured

from .convergence import draw_curves
from .style import save_figure, use_style
from .tables import decimals, markdown_table

COLUMNS = 3
METRIC = 'accuracy/top1'
STEPS = {'epoch': 'passes over', 'iteration': 'iterations on'}


def comparison_sentence(runs: Sequence[Run]) -> str:
    """Describe in one sentence the last validations of several trainings of the same length.

    Example: 'New images classified correctly after 4 passes over the same data: 43 % with A, 61 % with B'.

    Raises:
        ValueError: If a run lacks the top-1 accuracy, or the runs differ in length.
    """
    lengths = sorted({int(run.curve(METRIC)[0][-1]) for run in runs})
    if len(lengths) > 1:
        raise ValueError(f'The runs have {lengths} {runs[0].unit}s: compare runs of the same length.')
    parts = [f'{run.final(METRIC):.0f} % with {run.name}' for run in runs]
    steps = STEPS[runs[0].unit]
    return f"New images classified correctly after {lengths[0]} {steps} the same data: {', '.join(parts)}"


def plot_comparison(runs: Sequence[Run], pictures: Sequence[str | Path], path: str | Path) -> list[Path]:
    """Draw samples of the data, and the accuracy of each run over its training, under :func:`comparison_sentence`.

    ``pictures`` are image files, each in a folder with the name of its class. Returned are the files written; errors
    are those of the sentence and of :func:`~mmgcp.analysis.style.save_figure`.
    """
    sentence = comparison_sentence(runs)
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
        ax = right.subplots()
        for line in draw_curves(ax, runs, METRIC):
            end = line.get_xdata()[-1], line.get_ydata()[-1]
            ax.annotate(line.get_label(), end, xytext=(-4, 6), textcoords='offset points', ha='right',
                        color=line.get_color())
        ax.set(xlabel=f'{STEPS[runs[0].unit].capitalize()} the training images',
               ylabel='New images classified correctly (%)')
        ax.margins(y=0.12)
        return save_figure(figure, path, formats=())


def results_table(runs: Sequence[Run], metrics: Sequence[str]) -> str:
    """Write a Markdown table of last validations, a column per metric, empty where a run did not measure it.

    Raises:
        ValueError: If no run measured one of the metrics.
    """
    check_measured(runs, metrics)
    return markdown_table(['run', 'unit', 'trained', *metrics],
                          [[run.name, run.unit, str(run.val[-1]['step']), *(_last(run, m) for m in metrics)]
                           for run in runs])


def _last(run, metric):
    if metric not in run.metrics:
        return ''
    value = run.final(metric)
    return f'{value:.{decimals(np.nan_to_num(value))}f}'
