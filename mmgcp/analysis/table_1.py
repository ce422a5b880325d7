"""Gradients of GAP, GCP and GAP with K-FAC by the same weights: Table 1 in numbers (Wang et al., CVPR 2020).

What ``compare_gradients.py`` measures of the checkpoints of one training. A record has the name of the ``checkpoint``,
the iterations trained until then, ``iter``, and in ``rows``, per row of the table, what
:class:`mmgcp.probes.gradients.Row` holds. The first row is the gradient that the network is trained with. Of
several records with one number of iterations the last counts: it is of a training that was repeated.
"""
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from .panels import add_legend
from .style import save_figure, use_style
from .tables import markdown_table

TRAINED = 'GCP as trained'
EXACT = 'GCP, Eq. 6'
TRIMMED = 'GCP, Eq. 7'
COVARIANCE = 'covariance, no root'
GAP = 'GAP'
KFAC = 'GAP with K-FAC'


def gradient_table(records: Sequence[dict]) -> str:
    """Write the numbers of :func:`gradient_rows` as a Markdown table."""
    return markdown_table(*gradient_rows(records))


def gradient_rows(records: Sequence[dict]) -> tuple[list[str], list[list[str]]]:
    """The rows of Table 1 in numbers, for one checkpoint after the other.

    Args:
        records (Sequence[dict]): Measurements of one training, see this module.

    Returns:
        tuple[list[str], list[list[str]]]: Names of the columns, and cells: per row and iteration the norm, over that of
        the gradient which the network is trained with, the effective rank, and the cosine similarities to all rows.

    Raises:
        ValueError: If there are no records.
    """
    records = _in_order(records)
    names = list(records[0]['rows'])
    cells = [[name, str(record['iter']), f"{row['norm'] / _norm_as_trained(record):.3g}",
              f"{row['effective_rank']:.1f}", *(f"{row['cosines'][other]:.3f}" for other in names)]
             for record in records for name, row in record['rows'].items()]
    return ['gradient', 'iteration', 'norm ratio', 'effective rank', *(f'cos {name}' for name in names)], cells


def draw_cosines(ax: Axes, records: Sequence[dict]) -> None:
    """Draw how far all rows point in the direction of Eq. 6, of a network with average pooling GAP, against iterations.

    Args:
        ax (Axes): Where to draw.
        records (Sequence[dict]): Measurements of one training, in the order of their iterations.
    """
    names = list(records[0]['rows'])
    reference = EXACT if EXACT in names else GAP
    _draw_against_iterations(ax, records, lambda record, name: record['rows'][name]['cosines'][reference])
    ax.set_ylabel(f'Cosine similarity to {reference}')


def draw_norm_ratios(ax: Axes, records: Sequence[dict]) -> None:
    """Draw the lengths of all rows, over that of the gradient which the network is trained with, against iterations.

    Args:
        ax (Axes): Where to draw.
        records (Sequence[dict]): Measurements of one training, in the order of their iterations.
    """
    _draw_against_iterations(ax, records, lambda record, name: record['rows'][name]['norm'] / _norm_as_trained(record))
    ax.set_yscale('log')
    ax.set_ylabel('Norm over norm as trained')


def draw_spectra(ax: Axes, record: dict) -> None:
    """Draw the singular values of all rows of one measurement, over the largest.

    Args:
        ax (Axes): Where to draw.
        record (dict): The measurement.
    """
    for name, row in record['rows'].items():
        values = row['singular_values']
        ax.plot(np.arange(1, len(values) + 1), values, label=name, markevery=max(1, len(values) // 8))
    ax.set_yscale('log', nonpositive='mask')
    ax.set_xlabel(f"Singular value at iteration {record['iter']}")
    ax.set_ylabel('Singular value over the largest')


def plot_gradients(records: Sequence[dict], path: str | Path, title: str = '',
                   formats: Sequence[str] = ('pdf', )) -> list[Path]:
    """Write the figure of Table 1 over a training: directions, lengths, and the spectra at its end.

    Args:
        records (Sequence[dict]): Measurements of one training, see this module.
        path (str | Path): The PNG file to write.
        title (str): Title, often the network.
        formats (Sequence[str]): Vector formats to write beside the PNG, 'pdf' or 'svg'.

    Returns:
        list[Path]: The files written, the PNG first.

    Raises:
        ValueError: If there are no records, or ``path`` does not end in ``.png``.
    """
    records = _in_order(records)
    with use_style():
        figure = Figure(figsize=(12.6, 3.8))  # inches
        axes = figure.subplots(1, 3)
        draw_cosines(axes[0], records)
        draw_norm_ratios(axes[1], records)
        draw_spectra(axes[2], records[-1])
        figure.suptitle(title)
        add_legend(figure)
        return save_figure(figure, path, formats)


def _in_order(records):
    """The last record of each iteration, by ascending iteration; all must have the same rows."""
    if not records:
        raise ValueError('There are no measured gradients: measure those of a checkpoint first.')
    last = {record['iter']: record for record in records}
    records = [last[iteration] for iteration in sorted(last)]
    for record in records:
        if list(record['rows']) != list(records[0]['rows']):
            raise ValueError(f"The gradients of '{record['checkpoint']}' have other rows than those of "
                             f"'{records[0]['checkpoint']}': measure both networks apart.")
    return records


def _norm_as_trained(record):
    """Norm of the gradient that the network is trained with, its first row."""
    return next(iter(record['rows'].values()))['norm']


def _draw_against_iterations(ax, records, value):
    iters = [record['iter'] for record in records]
    for name in records[0]['rows']:
        ax.plot(iters, [value(record, name) for record in records], label=name)
    ax.set_xlabel('Iteration')
    ax.xaxis.set_major_formatter(EngFormatter(sep=''))
