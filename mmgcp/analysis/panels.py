"""Figures with a panel per network, as Figs. 2 and 3 (Wang et al., CVPR 2020): their runs and legend."""
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from matplotlib.figure import Figure

LINE = 0.19  # inches that a line of a legend takes


class Panel(NamedTuple):
    """A panel: its title, work directories of its runs, and their names (None for those of the folders)."""
    title: str
    work_dirs: list[str]
    labels: list[str] | None


def panels_of(work_dirs: Sequence[str], panels: Sequence[Sequence[str]] = (), labels: Sequence[str] | None = None,
              title: str = '') -> list[Panel]:
    """Convert the arguments of a command line to panels.

    ``work_dirs`` are the runs of a single panel with a ``title``; ``panels``, given instead, each hold a title and its
    runs. ``labels`` name all runs, or those of one panel if all panels have as many.

    Raises:
        ValueError: If there are no runs, runs inside and outside of panels, a panel without runs, two panels of one
            title, or labels that do not fit the runs.
    """
    if bool(work_dirs) == bool(panels):
        raise ValueError('Give either WORK_DIR ..., the runs of one panel, or --panel TITLE WORK_DIR ... for each of '
                         'several.')
    groups = [(title, list(work_dirs))] if work_dirs else [(panel[0], list(panel[1:])) for panel in panels]
    titles = [title for title, _ in groups]
    for title, runs in groups:
        if not runs:
            raise ValueError(f"The panel '{title}' has no runs: give --panel TITLE WORK_DIR ..., the title first.")
        if titles.count(title) > 1:
            raise ValueError(f"Several panels are called '{title}': give each its own title.")
    return [Panel(title, runs, names) for (title, runs), names in zip(groups, _labels(groups, labels), strict=True)]


def add_legend(figure: Figure) -> None:
    """Put one legend of all axes below a figure, where it covers nothing, and make the figure higher by it.

    The figure has constrained layout. What has the same label must look the same.
    """
    entries = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    width = 3.1 if max(map(len, entries)) <= 40 else 6.2  # inches for an entry
    lines = -(-len(entries) // max(1, int(figure.get_figwidth() / width)))
    figure.legend(entries.values(), entries, loc='outside lower center', handlelength=4,
                  ncols=-(-len(entries) // lines))
    figure.set_figheight(figure.get_figheight() + LINE * lines)


def _labels(groups, labels):
    sizes = [len(runs) for _, runs in groups]
    if labels is None:
        return [None] * len(groups)
    if len(labels) == sum(sizes):
        rest = iter(labels)
        return [list(islice(rest, size)) for size in sizes]
    if {len(labels)} == set(sizes):
        return [list(labels)] * len(groups)
    raise ValueError(f'{len(labels)} labels for {sum(sizes)} runs: give one label per run'
                     f"{', or as many as each panel has runs' if len(set(sizes)) == 1 < len(sizes) else ''}.")
