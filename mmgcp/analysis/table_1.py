"""Gradients of GAP, GCP and GAP with K-FAC for the same weights: Table 1 in numbers (Wang et al., CVPR 2020).

Records are those of ``compare_gradients.py``, one per checkpoint of a training: ``checkpoint``, the iterations trained
until then, ``iter``, and in ``rows``, per row of the table, what :class:`mmgcp.probes.gradients.Row` holds. The first
row is the gradient that the network is trained with. Of records with the same iterations, the last counts.
"""
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from .panels import add_legend
from .style import save_figure, use_style

TRAINED = 'GCP as trained'
EXACT = 'GCP, Eq. 6'
TRIMMED = 'GCP, Eq. 7'
COVARIANCE = 'covariance, no root'
GAP = 'GAP'
KFAC = 'GAP with K-FAC'


def gradient_rows(records: Sequence[dict]) -> tuple[list[str], list[list[str]]]:
    """List names of columns and the rows of Table 1 in numbers, for one checkpoint after the other.

    They are the norm, over that of the gradient which the network is trained with, the effective rank, and the cosine
    similarities to all rows. ``records`` are the measurements of one training, see this module.

    Raises:
        ValueError: If there are no records.
    """
    records = _in_order(records)
    names = list(records[0]['rows'])
    cells = [[name, str(record['iter']), f'{_norm_ratio(record, name):.3g}', f"{row['effective_rank']:.1f}",
              *(f"{row['cosines'][other]:.3f}" for other in names)]
             for record in records for name, row in record['rows'].items()]
    return ['gradient', 'iteration', 'norm ratio', 'effective rank', *(f'cos {name}' for name in names)], cells


def plot_gradients(records: Sequence[dict], path: str | Path, title: str = '',
                   formats: Sequence[str] = ('pdf', )) -> list[Path]:
    """Write the figure of Table 1 over a training.

    Its panels are the cosines of all rows to Eq. 6 (of a network with average pooling: to GAP), their norms over that
    of the gradient which the network is trained with, and their singular values at the end, over the largest.
    Arguments and errors are those of :func:`gradient_rows` and :func:`~mmgcp.analysis.style.save_figure`.
    """
    records = _in_order(records)
    rows = records[-1]['rows']
    reference = EXACT if EXACT in rows else GAP
    iterations = [record['iter'] for record in records]
    with use_style():
        figure = Figure(figsize=(12.6, 3.8))  # inches
        cosines, norms, spectra = figure.subplots(1, 3)
        for name, row in rows.items():
            cosines.plot(iterations, [record['rows'][name]['cosines'][reference] for record in records], label=name)
            norms.plot(iterations, [_norm_ratio(record, name) for record in records], label=name)
            values = row['singular_values']
            spectra.plot(range(1, len(values) + 1), values, label=name, markevery=max(1, len(values) // 8))
        cosines.set(xlabel='Iteration', ylabel=f'Cosine similarity to {reference}')
        norms.set(xlabel='Iteration', ylabel='Norm over norm as trained', yscale='log')
        spectra.set(xlabel=f'Singular value at iteration {iterations[-1]}', ylabel='Singular value over the largest')
        spectra.set_yscale('log', nonpositive='mask')
        for ax in (cosines, norms):
            ax.xaxis.set_major_formatter(EngFormatter(sep=''))
        figure.suptitle(title)
        add_legend(figure)
        return save_figure(figure, path, formats)


def _in_order(records):
    """Select the last record of each iteration, by ascending iteration; all must have the same rows."""
    if not records:
        raise ValueError('There are no measured gradients: measure those of a checkpoint first.')
    last = {record['iter']: record for record in records}
    records = [last[iteration] for iteration in sorted(last)]
    for record in records:
        if list(record['rows']) != list(records[0]['rows']):
            raise ValueError(f"The gradients of '{record['checkpoint']}' have other rows than those of "
                             f"'{records[0]['checkpoint']}': measure both networks apart.")
    return records


def _norm_ratio(record, name):
    return record['rows'][name]['norm'] / next(iter(record['rows'].values()))['norm']
