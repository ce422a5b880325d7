"""The one look of all figures of the project: safe for colour-blind readers, for grey print and for vector files.

Figures are made from :class:`matplotlib.figure.Figure`, without pyplot: no display is needed and none is looked for.
"""
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib
from cycler import cycler
from matplotlib.figure import Figure

# Okabe and Ito's colours. Seven colours and four dash patterns have no common factor: 28 curves differ in the pair,
# and neighbours differ in colour, dash and marker at once, which grey print needs.
COLORS = ['#000000', '#D55E00', '#0072B2', '#009E73', '#CC79A7', '#E69F00', '#56B4E9']
MARKERS = ['o', 's', '^', 'D', 'v', 'P', 'X']
DASHES = ['-', '--', '-.', ':']

STYLE = {
    'axes.prop_cycle': cycler(color=COLORS * 4) + cycler(marker=MARKERS * 4) + cycler(linestyle=DASHES * 7),
    'figure.figsize': (6.4, 4.4),  # inches: legible at the width of a page
    'figure.constrained_layout.use': True,
    'font.size': 10,
    'axes.titlesize': 11,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'axes.axisbelow': True,
    'grid.color': '#E0E0E0',
    'grid.linewidth': 0.6,
    'lines.linewidth': 1.5,
    'lines.markersize': 4.5,
    'legend.frameon': False,
    'legend.fontsize': 9,
    'savefig.dpi': 200,
    'pdf.fonttype': 42,  # TrueType: text in the PDF stays text
}


def use_style() -> AbstractContextManager:
    """Return a context manager in which figures are made and saved in the style of the project."""
    return matplotlib.rc_context(STYLE)


def save_figure(figure: Figure, path: str | Path, formats: Sequence[str] = ('pdf', )) -> list[Path]:
    """Write a figure as PNG and, beside it, as vector files of the same name.

    Args:
        figure (matplotlib.figure.Figure): The figure.
        path (str | Path): The PNG file; missing folders are made.
        formats (Sequence[str]): Further formats, 'pdf' or 'svg'.

    Returns:
        list[Path]: The files written, the PNG first.

    Raises:
        ValueError: ``path`` does not end in ``.png``.
    """
    path = Path(path)
    if path.suffix != '.png':
        raise ValueError(f"The figure '{path}' must end in .png: vector files are named after it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    paths = [path, *(path.with_suffix(f'.{extension}') for extension in formats)]
    for target in paths:
        figure.savefig(target)
    return paths
