"""Curvature of the loss along trainings: eigenvalues and trace of its Hessian, against epochs.

``measure_curvature.py`` measures them. Section 3 of Wang et al. (CVPR 2020) claims a smoother loss; the largest
eigenvalue of the Hessian measures smoothness with respect to the weights.
"""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from mmgcp.utils.logs import check_units
from mmgcp.utils.records import read_records

from .panels import add_legend
from .style import legend_label, save_figure, step_axis, use_style

FILE_NAME = 'curvature.json'


@dataclass(frozen=True)
class CurvatureLog:
    """Curvature along one training; a record per checkpoint, in its order.

    Records hold ``step`` in ``unit`` ('epoch' or 'iteration'), and the fields of
    :class:`mmgcp.probes.hessian.Curvature`.
    """
    name: str  # of the run in tables and legends
    settings: dict  # on which images and how it was measured
    records: list[dict]

    @property
    def unit(self) -> str:
        """'epoch' or 'iteration', whichever the steps count."""
        return self.records[0]['unit']

    def column(self, key: str) -> np.ndarray:
        """Return one number per checkpoint, (n,) float64."""
        return np.array([record[key] for record in self.records], dtype=np.float64)

    @property
    def largest(self) -> np.ndarray:
        """(n,): the largest eigenvalue; NaN where not all converged, so that none is known to be the largest."""
        return np.array([record['eigenvalues'][0] if len(record['eigenvalues']) == self.settings['eigenvalues']
                         else np.nan for record in self.records])


def read_curvature(work_dir: str | Path, name: str | None = None) -> CurvatureLog:
    """Read ``curvature.json`` of a work directory, whose name is the default one of the run.

    Raises:
        ValueError: If there is no measurement, or the file cannot be read.
    """
    work_dir = Path(work_dir)
    settings, records = read_records(work_dir / FILE_NAME)
    if not records:
        raise ValueError(f"'{work_dir / FILE_NAME}' holds no measurement yet: measure first.")
    return curvature_of(settings, records, name or work_dir.resolve().name)


def curvature_of(settings: dict, records: Sequence[dict], name: str) -> CurvatureLog:
    """Combine the settings and measurements, at least one, of a training; of those at one step, the last counts."""
    last = {record['step']: record for record in records}
    return CurvatureLog(name, settings, [last[step] for step in sorted(last)])


def check_same_settings(settings: Mapping[str, dict]) -> None:
    """Raise a ValueError unless networks, by name, are measured on the same images in the same way."""
    (first, known), *others = settings.items()
    for name, other in others:
        keys = {*known, *other} - {'network', 'libraries'}
        differing = sorted(key for key in keys if known.get(key) != other.get(key))
        if differing:
            differences = ', '.join(f'{key} {known.get(key)} and {other.get(key)}' for key in differing)
            raise ValueError(f"'{first}' and '{name}' cannot be compared, for they differ in what is measured "
                             f'({differences}): measure both with the same settings on the same images.')


def curvature_rows(curvatures: Sequence[CurvatureLog]) -> tuple[list[str], list[list[str]]]:
    """List names of columns and, for each checkpoint of the runs, a row of cells; what was not found is ``nan``.

    'residual' is the largest of the eigenvalues' residuals; the trace has its standard error.

    Raises:
        ValueError: As :func:`check_same_settings`, or the runs count their steps differently.
    """
    _check(curvatures)
    settings = curvatures[0].settings
    number, smallest = settings['eigenvalues'], ['smallest'] if settings['smallest'] else []
    header = ['run', curvatures[0].unit, 'loss', *(f'lambda_{index + 1}' for index in range(number)), 'converged',
              'residual', *smallest, 'trace', 'products', 'seconds']
    return header, [[run.name, *_cells(record, number, bool(smallest))] for run in curvatures for record in run.records]


def plot_curvature(curvatures: Sequence[CurvatureLog], path: str | Path,
                   formats: Sequence[str] = ('pdf', )) -> list[Path]:
    """Draw the largest eigenvalue and the trace against epochs, with bars of the trace's standard error.

    Axes of values are logarithmic where all values are positive. Curves, which may differ in length, have gaps where a
    value was not found; the legend counts them. Arguments and errors are those of :func:`curvature_rows` and
    :func:`~mmgcp.analysis.style.save_figure`.
    """
    _check(curvatures)
    with use_style():
        figure = Figure(figsize=(8.4, 3.6))  # inches: two panels
        panels = figure.subplots(1, 2)
        lowest = [[], []]  # values of each panel, below their bars
        for run in curvatures:
            steps, trace, error = map(run.column, ('step', 'trace', 'trace_error'))
            gaps = int((~np.isfinite(run.largest)).sum())
            label = legend_label(run.name) + (f' ({gaps} of {len(run.records)} not found)' if gaps else '')
            panels[0].errorbar(steps, run.largest, label=label)
            panels[1].errorbar(steps, trace, error, capsize=2, label=label)
            lowest[0] += run.largest.tolist()
            lowest[1] += (trace - error).tolist()
        for ax, values, quantity in zip(panels, lowest, (r'Largest eigenvalue $\lambda_1$', 'Trace'), strict=True):
            step_axis(ax, curvatures[0].unit)
            ax.set_ylabel(f'{quantity} of the Hessian')
            if min(filter(np.isfinite, values), default=0) > 0:
                ax.set_yscale('log')
                ax.yaxis.set_major_formatter(LogFormatter())
                ax.yaxis.set_minor_formatter(LogFormatter())
        add_legend(figure)
        return save_figure(figure, path, formats)


def _check(curvatures):
    check_same_settings({run.name: run.settings for run in curvatures})
    check_units(curvatures)


def _cells(record, number, with_smallest):
    values, nan = record['eigenvalues'], float('nan')
    return [str(record['step']), f"{record['loss']:.4g}",
            *(f'{value:.4g}' for value in [*values, *[nan] * (number - len(values))]),
            f'{len(values)} of {number}', f"{max(record['residuals'], default=nan):.0e}",
            *([f"{next(iter(record['smallest']), nan):.4g}"] if with_smallest else []),
            f"{record['trace']:.4g} ± {record['trace_error']:.4g}", str(record['products']), f"{record['seconds']:.1f}"]
