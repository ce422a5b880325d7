"""Smoothness of the loss along a training: Fig. 2 and its numbers (Wang et al., CVPR 2020).

``mmgcp.LandscapeHook`` measures the loss along the gradient (Eq. 3), the distance between the gradients there and here
(Eq. 4), and that distance over the length of the step, whose maximum is the effective beta-smoothness of Santurkar et
al., NeurIPS 2018. Smaller ranges of the first two mean a smoother landscape and more predictive gradients.
"""
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogFormatter

from mmgcp.utils.logs import continued, read_labelled
from mmgcp.utils.records import Records, read_records

from .panels import add_legend
from .style import legend_label, looks_of, save_figure, use_style

QUANTITIES = {'losses': 'Loss along the gradient', 'distances': 'Gradient distance',
              'smoothness': r'Effective $\beta$-smoothness'}
_HATCHES = ['///', '\\\\\\', '...', 'xxx']
NOT_FINITE = 'not finite at some step sizes'


@dataclass(frozen=True, eq=False, repr=False)
class LandscapeLog:
    """The landscape along one training, however often it was interrupted: n measurements, k step sizes."""
    name: str  # of the run in tables and legends
    at: str  # place in the network: 'stem', 'image', 'weights', ...
    layer: str  # name of the layer there
    direction: str  # 'ascent' or 'descent' along the gradient
    images: int | None  # of the batch whose mean loss is differentiated; None if it was not recorded
    step_sizes: np.ndarray  # (k,), ascending, in the unit of learning rates
    iters: np.ndarray  # (n,) int64, ascending: iterations trained before each measurement
    loss: np.ndarray  # (n,): L(X) itself
    gradient_norm: np.ndarray  # (n,): ||g||
    losses: np.ndarray  # (n, k): Eq. 3
    distances: np.ndarray  # (n, k): Eq. 4
    smoothness: np.ndarray  # (n, k): distances over lengths of the steps
    seconds: np.ndarray  # (n,): duration of each measurement

    @property
    def steps(self) -> str:
        """Range of the step sizes and the batch that they belong to, as text."""
        low, high = self.step_sizes[[0, -1]]
        return f'{low:g} to {high:g}' + (f' at batch {self.images}' if self.images else '')

    @property
    def finite(self) -> np.ndarray:
        """(n, k) bool: whether loss and gradient are finite."""
        return np.isfinite(self.losses) & np.isfinite(self.distances)

    def bounds(self, quantity: str) -> tuple[np.ndarray, np.ndarray]:
        """Return minimum and maximum, (n,) each, of a quantity's finite values over the step sizes; NaN without any."""
        values = getattr(self, quantity)
        values = np.where(np.isfinite(values), values, np.nan)
        return np.fmin.reduce(values, axis=1), np.fmax.reduce(values, axis=1)  # both skip NaN

    def ranges(self, quantity: str) -> np.ndarray:
        """Return maximum minus minimum over the step sizes, (n,); for 'smoothness' the maximum."""
        low, high = self.bounds(quantity)
        return high if quantity == 'smoothness' else high - low

    def later_range(self, quantity: str) -> float:
        """Return the geometric mean of :meth:`ranges` without the first, of the untrained network; NaN if empty."""
        values = self.ranges(quantity)[1:]
        values = values[np.isfinite(values) & (values > 0)]
        return float(np.exp(np.log(values).mean())) if len(values) else float('nan')


def read_landscape(work_dir: str | Path, at: str | None = None, name: str | None = None) -> LandscapeLog:
    """Read what ``mmgcp.LandscapeHook`` wrote into a work directory: ``<YYYYMMDD_HHMMSS>/landscape/<at>.json``.

    Every start of a training writes a folder of its own, named after the time. Measurements of a resumed training
    replace earlier ones as in :func:`~mmgcp.utils.logs.read_run`. ``at`` defaults to the only place, ``name`` to that
    of the folder.

    Raises:
        ValueError: If there is no measurement, ``at`` is needed or unknown, settings differ, or a file is unreadable.
    """
    work_dir = Path(work_dir)
    files = sorted(work_dir.glob('*/landscape/*.json'))
    places = sorted({file.stem for file in files})
    if not files:
        raise ValueError(f"'{work_dir}' holds no landscape (<time>/landscape/<at>.json): train with the hook "
                         'mmgcp.LandscapeHook in custom_hooks, and give the work_dir of that training.')
    if at is None and len(places) > 1:
        raise ValueError(f"'{work_dir}' holds the landscapes at {', '.join(places)}: name one with --at.")
    if at not in (None, *places):
        raise ValueError(f"'{work_dir}' holds no landscape at '{at}': there is {', '.join(places)}.")
    return landscape_of(*landscape_records(work_dir, at or places[0]), name or work_dir.resolve().name)


def landscape_records(work_dir: Path, at: str) -> Records:
    """Read and merge the files of the starts of a training at one place; there must be one.

    Raises:
        ValueError: If there is no measurement, settings differ, or a file is unreadable.
    """
    # The names of the folders are times: their order is that of the starts.
    starts = {file: read_records(file) for file in sorted(work_dir.glob(f'*/landscape/{at}.json'))}
    settings = _common_settings({file: start.settings for file, start in starts.items()})
    records = []
    for file, start in starts.items():
        for number, record in enumerate(start.records, 2):
            _check(record, len(settings['step_sizes']), f"line {number} of '{file}'")
        if start.records:
            first = continued(file.parents[1]).get('iter', start.records[0]['iter'])
            records = [record for record in records if record['iter'] < first] + start.records
    if not records:
        raise ValueError(f"'{work_dir}' holds no measurement of its landscape yet: wait for the first one.")
    return Records(settings, records)


def landscape_of(settings: Mapping, records: Sequence[Mapping], name: str) -> LandscapeLog:
    """Combine the settings that the hook records first, and its measurements, at least one."""
    arrays = {key: np.array([record[key] for record in records], dtype=np.float64)
              for key in ('loss', 'gradient_norm', 'losses', 'distances', 'smoothness', 'seconds')}
    return LandscapeLog(name, *(settings[key] for key in ('at', 'layer', 'direction')), settings.get('images'),
                        np.array(settings['step_sizes'], dtype=np.float64),
                        np.array([record['iter'] for record in records], dtype=np.int64), **arrays)


def read_landscapes(work_dirs: Sequence[str | Path], labels: Sequence[str] | None = None,
                    at: str | None = None) -> list[LandscapeLog]:
    """Read the landscapes of several runs ``at`` one place, to compare them, and warn where runs differ in length.

    Raises:
        ValueError: If one cannot be read, names do not fit, or runs differ in step sizes, batch, direction or place.
    """
    landscapes = read_labelled(lambda work_dir, label: read_landscape(work_dir, at, label), work_dirs, labels)
    first, *others = landscapes
    for other in others:
        for key in ('at', 'direction', 'step_sizes', 'images'):
            _check_same(key, first.name, getattr(first, key), other.name, getattr(other, key),
                        ': compare runs with the same settings.')
    longest = max(landscapes, key=lambda landscape: landscape.iters[-1])
    for landscape in landscapes:
        if landscape.iters[-1] < longest.iters[-1]:
            warnings.warn(f"'{landscape.name}' ends at iteration {landscape.iters[-1]}, '{longest.name}' at "
                          f'{longest.iters[-1]}: compare the part that both have.', stacklevel=2)
    return landscapes


def landscape_rows(landscapes: Sequence[LandscapeLog]) -> tuple[list[str], list[list[str]]]:
    """Tabulate the figure: names of the columns, and a row per run.

    Ranges are maximum minus minimum over the step sizes, beta is the maximum: 'first' at the first measurement, 'later'
    the geometric mean over all others. They are of finite values; the share of the others has a column.
    """
    columns = [f'{when} {what}' for what in ('loss range', 'gradient range', 'beta') for when in ('first', 'later')]
    rows = []
    for landscape in landscapes:
        numbers = [number for quantity in QUANTITIES
                   for number in (landscape.ranges(quantity)[0], landscape.later_range(quantity))]
        rows.append([landscape.name, str(len(landscape.iters)), str(landscape.iters[-1]),
                     *('N/A' if np.isnan(number) else f'{number:.4g}' for number in numbers),
                     f'{1 - landscape.finite.mean():.1%}', f'{landscape.seconds.mean():.3g}'])
    return ['run', 'measurements', 'last iteration', *columns, 'not finite', 's per measurement'], rows


def draw_landscape(ax: Axes, landscapes: Sequence[LandscapeLog], quantity: str, log: bool = False,
                   looks: Mapping[str, dict] | None = None) -> None:
    """Draw a quantity against training steps (a panel of Fig. 2).

    Losses and distances are bands between their minimum and maximum over the step sizes, the losses with L(X), which is
    that of step 0, as a line; beta-smoothness is a line, its maximum. Triangles at the upper edge mark overflows.

    ``quantity`` is one of :data:`QUANTITIES`; ``looks`` are those of :func:`~mmgcp.analysis.style.looks_of`.
    """
    ax.set_xlabel('Training step')
    ax.set_ylabel(QUANTITIES[quantity])
    ax.xaxis.set_major_formatter(EngFormatter(sep=''))
    if log:
        ax.set_yscale('log', nonpositive='mask')
        ax.yaxis.set_major_formatter('{x:g}')
        ax.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.5)))
    looks = looks or looks_of(landscape.name for landscape in landscapes)
    for level, landscape in enumerate(landscapes):
        look = looks[landscape.name] | dict(marker='' if len(landscape.iters) > 1 else 'o')
        color, hatch = look['color'], _HATCHES[list(looks).index(landscape.name) % len(_HATCHES)]
        low, high = landscape.bounds(quantity)
        label = legend_label(landscape.name)
        if quantity == 'smoothness':
            ax.plot(landscape.iters, high, **look, label=label)
        else:
            ax.fill_between(landscape.iters, low, high, facecolor=(color, 0.18), edgecolor=(color, 0.45), hatch=hatch,
                            linewidth=0, label=label)
            for edge in (low, high):
                ax.plot(landscape.iters, edge, **look, linewidth=0.8)
        if quantity == 'losses':
            ax.plot(landscape.iters, landscape.loss, **look, linewidth=2, label=f'{label}: L(X)')
        overflows = landscape.iters[~landscape.finite.all(axis=1)]
        if len(overflows):  # just above the axes, those of several runs above each other
            ax.plot(overflows, np.full(len(overflows), 1.015 + 0.03 * level), clip_on=False, color=color, marker='v',
                    transform=ax.get_xaxis_transform(), markersize=3.5, linestyle='none',
                    label=f'{label}: {NOT_FINITE}')


def plot_landscape(panels: Mapping[str, Sequence[LandscapeLog]], path: str | Path, beta: bool = False,
                   log: bool = False, formats: Sequence[str] = ('pdf', )) -> list[Path]:
    """Write the figure of loss Lipschitzness and gradient predictiveness, a row for each network, by title (Fig. 2).

    ``beta`` adds effective beta-smoothness as a third column, ``log`` makes the axes of values logarithmic. ``path``
    and ``formats`` are those of :func:`~mmgcp.analysis.style.save_figure`, with its error.
    """
    quantities = list(QUANTITIES)[:3 if beta else 2]
    with use_style():
        figure = Figure(figsize=(4.6 * len(quantities), 3.4 * len(panels)))  # inches
        rows = figure.subplots(len(panels), len(quantities), squeeze=False)
        looks = looks_of(landscape.name for landscapes in panels.values() for landscape in landscapes)
        for axes, (title, landscapes) in zip(rows, panels.items(), strict=True):
            for ax, quantity in zip(axes, quantities, strict=True):
                draw_landscape(ax, landscapes, quantity, log, looks)
                ax.set_title(title, pad=6 + 3 * len(landscapes))
        add_legend(figure)
        return save_figure(figure, path, formats)


def _common_settings(settings):
    """Return the settings of the starts of a run, given by file, which must agree."""
    first, *others = settings
    for other in others:
        for key in sorted({*settings[first], *settings[other]}):
            _check_same(key, first, settings[first].get(key), other, settings[other].get(key),
                        ', so that they are not one run: move away what does not belong here.')
    missing = {'at', 'layer', 'direction', 'step_sizes'} - set(settings[first])
    if missing:
        raise ValueError(f"'{first}' is no landscape: its settings lack {', '.join(sorted(missing))}.")
    return settings[first]


def _check(record, number, place):
    missing = {'iter', 'loss', 'gradient_norm', 'losses', 'distances', 'smoothness', 'seconds'} - set(record)
    if missing:
        raise ValueError(f"{place} is no measurement of a landscape: it lacks {', '.join(sorted(missing))}.")
    for key in ('losses', 'distances', 'smoothness'):
        if len(record[key]) != number:
            raise ValueError(f'{place} has {len(record[key])} {key} for {number} step sizes: measure again.')


def _check_same(key, first, mine, second, its, consequence):
    if not np.array_equal(mine, its):
        shown = (f'{len(value)} from {value[0]:g} to {value[-1]:g}' if np.ndim(value) and len(value) else value
                 for value in (mine, its))
        raise ValueError(f"'{first}' and '{second}' were measured with different {key} "
                         f"({' and '.join(map(str, shown))}){consequence}")
