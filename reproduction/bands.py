"""Curves of several seeds as one line."""
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike


def draw_band(ax: Axes, name: str, curves: Sequence[tuple[ArrayLike, ArrayLike]], look: Mapping) -> Line2D:
    """Draw the mean of curves in the band between the smallest and the largest.

    Args:
        ax (Axes): Where to.
        name (str): Label of the line.
        curves (Sequence[tuple[ArrayLike, ArrayLike]]): Steps, (n,), and values, (n,), of each seed, which counts at
            its own steps.
        look (Mapping): One of :func:`mmgcp.analysis.style.looks_of`.

    Returns:
        Line2D: The line.
    """
    at = np.unique(np.concatenate([steps for steps, _ in curves]))
    values = np.full((len(curves), len(at)), np.nan)
    for row, (steps, its) in zip(values, curves, strict=True):
        row[np.searchsorted(at, steps)] = its
    line, = ax.plot(at, np.nanmean(values, axis=0), **look, label=name)
    ax.fill_between(at, np.nanmin(values, axis=0), np.nanmax(values, axis=0), color=look['color'], alpha=0.15,
                    linewidth=0)
    return line
