"""Style of all figures: safe for colour-blind readers, greyscale print and vector files.

Figures are made from :class:`matplotlib.figure.Figure`, without pyplot, so that no display is needed.
"""
import re
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

# Okabe and Ito's colours. Seven colours and four dash patterns have no common factor: 28 curves differ in the pair,
# and neighbours differ in colour, dash and marker at once, which grey print needs.
COLORS = ['#000000', '#D55E00', '#0072B2', '#009E73', '#CC79A7', '#E69F00', '#56B4E9']
MARKERS = ['o', 's', '^', 'D', 'v', 'P', 'X']
DASHES = ['-', '--', '-.', ':']
# In all figures: index of the colour and marker of each pooling (patterns; GAP with another rate of its classifier is
# one, too), dashes of each schedule.
POOLINGS = {'gap.*classifier': 5, 'gap_wo_ds': 4, 'gcp_wo_ds': 1, 'gcp_m': 2, 'gcp_d': 3, 'gcp': 1, 'gap': 0,
            'covariance': 2, 'average': 0}
SCHEDULES = {'norm': '-', 'adju': '--', 'fast': ':', 'short': '-.'}

STYLE = {
    'axes.prop_cycle': cycler(color=COLORS * 4) + cycler(marker=MARKERS * 4) + cycler(linestyle=DASHES * 7),
    'figure.figsize': (6.4, 4.4),  # inches: legible at the width of a page
    'figure.constrained_layout.use': True,
    'font.size': 10, 'axes.titlesize': 11, 'legend.fontsize': 9,
    'axes.spines.top': False, 'axes.spines.right': False, 'legend.frameon': False,
    'axes.grid': True, 'axes.axisbelow': True, 'grid.color': '#E0E0E0', 'grid.linewidth': 0.6,
    'lines.linewidth': 1.5, 'lines.markersize': 4.5,
    'savefig.dpi': 200,
    'pdf.fonttype': 42,  # TrueType: text in the PDF stays text
}


def use_style() -> AbstractContextManager:
    """Return a context manager in which figures are made and saved in the style of the project."""
    return matplotlib.rc_context(STYLE)


def looks_of(names: Iterable[str]) -> dict[str, dict]:
    """Choose the looks of all curves of a figure: one colour and marker per pooling, one style of line per schedule.

    Names are such as 'GCP_M, LR_adju' or 'resnet18_gcp_m_lr-adju'; one that comes twice looks the same. Where they do
    not tell the curves apart, looks follow their order. Looks are arguments of ``Axes.plot``, by name.
    """
    names = list(dict.fromkeys(names))
    told = [_look(name, number) for number, name in enumerate(names)]
    if None in told or len(set(told)) < len(names):
        told = [(number, DASHES[number % len(DASHES)]) for number in range(len(names))]
    return {name: dict(color=COLORS[number % len(COLORS)], marker=MARKERS[number % len(MARKERS)], linestyle=dashes)
            for name, (number, dashes) in zip(names, told, strict=True)}


def _look(name, number):
    """Choose colour number (default: the given one) and dashes of a curve; None if it names no pooling or schedule."""
    name = re.sub(r'w/o |[ -]', lambda match: 'wo_' if match[0] == 'w/o ' else '_', name.lower())
    pooling = next((POOLINGS[key] for key in POOLINGS if re.search(f'(?<![a-z]){key}(?![a-z])', name)), None)
    schedule = re.search(f"lr_({'|'.join(SCHEDULES)})", name)
    if pooling is None and not schedule:
        return None
    return number if pooling is None else pooling, SCHEDULES[schedule[1]] if schedule else '-'


def legend_label(name: str) -> str:
    """Return a name as a label that legends show: Matplotlib leaves out those that begin with an underscore."""
    return f'\u200b{name}' if name.startswith('_') else name  # a space without width


def step_axis(ax: Axes, unit: str, ticks: int = 10) -> None:
    """Label the horizontal axis with the unit of its steps, and mark whole steps only."""
    ax.set_xlabel(unit.capitalize())
    ax.xaxis.set_major_locator(MaxNLocator(ticks, integer=True, steps=[1, 2, 5, 10]))


def markers_at(number: int, points: int, index: int, curves: int) -> tuple[int, int]:
    """Spread about ``number`` markers over the points of one of several curves: ``markevery`` of ``Axes.plot``.

    Where there are more points than ``number * curves``, no two curves have markers at the same ones, for close curves
    would hide each other's.
    """
    spacing = -(-points // number)
    return index * spacing // curves, spacing


def label_ends(ax: Axes, lines: Sequence[Line2D]) -> None:
    """Write the labels of lines to the right of the axes, at the heights where they end, spread out where too close.

    Call it when everything is drawn.
    """
    size = STYLE['legend.fontsize']
    apart = 1.35 * size * ax.get_gridspec().nrows / (72 * 0.7 * ax.figure.get_figheight())  # share of the axes
    lines = sorted(lines, key=lambda line: line.get_ydata()[-1])
    ends = [(line.get_xdata()[-1], line.get_ydata()[-1]) for line in lines]
    heights = (ax.transData + ax.transAxes.inverted()).transform(ends)[:, 1].tolist()
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + apart)
    top = 1.
    for i in reversed(range(len(heights))):
        heights[i] = min(heights[i], top)
        top = heights[i] - apart
    for line, end, height in zip(lines, ends, heights, strict=True):
        ax.annotate(line.get_label(), end, (1.02, height), textcoords='axes fraction', va='center', fontsize=size,
                    color=line.get_color(), annotation_clip=False, arrowprops=dict(
                        arrowstyle='-', color=line.get_color(), alpha=0.35, linewidth=0.6, shrinkA=0, shrinkB=4))


def save_figure(figure: Figure, path: str | Path, formats: Sequence[str] = ('pdf', )) -> list[Path]:
    """Write a figure as PNG and, beside it, in vector ``formats``, 'pdf' or 'svg'; return the files, the PNG first.

    Missing folders are made. A ValueError says if ``path`` does not end in ``.png``.
    """
    path = Path(path)
    if path.suffix != '.png':
        raise ValueError(f"The figure '{path}' must end in .png: vector files are named after it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    for text in figure.findobj(lambda artist: isinstance(artist, Text) and '$' in artist.get_text()):
        try:
            text.get_window_extent()
        except ValueError:  # the dollars of a name, which enclose no formula
            text.set_parse_math(False)
    paths = [path, *(path.with_suffix(f'.{extension}') for extension in formats)]
    for target in paths:
        figure.savefig(target)
    return paths
