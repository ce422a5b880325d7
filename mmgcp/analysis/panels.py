"""Figures with a panel per network, as Figs. 2 and 3 (Wang et al., CVPR 2020): their runs and legends."""
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

LINE = 0.19  # inches that a line of a legend takes


class Panel(NamedTuple):
    """What a panel is to show.

    Attributes:
        title (str): Title, often the network; may be empty.
        work_dirs (list[str]): Work directories of the runs.
        labels (list[str] | None): Names of the runs; None for those of their folders.
    """
    title: str
    work_dirs: list[str]
    labels: list[str] | None


def panels_of(work_dirs: Sequence[str],
              panels: Sequence[Sequence[str]] = (),
              labels: Sequence[str] | None = None,
              title: str = '') -> list[Panel]:
    """Put the arguments of a command line in order.

    Args:
        work_dirs (Sequence[str]): Runs of a single panel.
        panels (Sequence[Sequence[str]]): In place of them, per panel its title and its runs.
        labels (Sequence[str], optional): Names of all runs; where all panels have as many runs, those of one suffice.
        title (str): Title of a single panel.

    Returns:
        list[Panel]: The panels, in the order given.

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


def looks_of(panels: Sequence[Sequence[str]]) -> list[list[int]]:
    """Choose the looks of runs so that a name that several panels have looks the same in all of them.

    Args:
        panels (Sequence[Sequence[str]]): Names of the runs by panel.

    Returns:
        list[list[int]]: Numbers of the looks: those of the names among all names, or, where no name comes twice,
        counted in each panel from 0.
    """
    names = [name for panel in panels for name in panel]
    known = list(dict.fromkeys(names))
    if len(known) == len(names):
        return [list(range(len(panel))) for panel in panels]
    return [[known.index(name) for name in panel] for panel in panels]


def add_legends(figure: Figure, panels: Sequence[Sequence[Axes]]) -> None:
    """Put legends below the axes, where they cover nothing, and make the figure higher by them.

    What several panels have in common stands once, below the figure; what is a panel's own, below this panel.

    Args:
        figure (Figure): The figure, in constrained layout, as high as it is without legends.
        panels (Sequence[Sequence[Axes]]): Axes by panel, of which the first carries the panel's own legend. What has
            the same label must look the same.
    """
    entries = [_entries(axes) for axes in panels]
    common = {label: handle for entry in entries for label, handle in entry.items()
              if len(panels) == 1 or sum(label in other for other in entries) > 1}
    own = [{label: handle for label, handle in other.items() if label not in common} for other in entries]
    height = figure.get_figheight()
    rows = len({axes[0].get_subplotspec().rowspan.start for axes in panels})
    if any(own):
        for (first, *_), extra in zip(panels, own, strict=True):
            if extra:
                first.legend(extra.values(), extra, loc='upper center', bbox_to_anchor=(0.5, -0.16), handlelength=4)
        height += rows * LINE * max(map(len, own))
    if common:
        width = 3.1 if max(map(len, common)) <= 40 else 6.2  # inches for an entry
        lines = -(-len(common) // max(1, int(figure.get_figwidth() / width)))
        figure.legend(common.values(), common, loc='outside lower center', ncols=-(-len(common) // lines),
                      handlelength=4)
        height += LINE * lines
    figure.set_figheight(height)


def _labels(groups, labels):
    sizes = [len(runs) for _, runs in groups]
    if labels is None:
        return [None] * len(groups)
    if len(labels) == sum(sizes):
        ends = [sum(sizes[:index + 1]) for index in range(len(sizes))]
        return [list(labels[end - size:end]) for end, size in zip(ends, sizes, strict=True)]
    if {len(labels)} == set(sizes):
        return [list(labels)] * len(groups)
    raise ValueError(f'{len(labels)} labels for {sum(sizes)} runs: give one label per run'
                     f"{', or as many as each panel has runs' if len(set(sizes)) == 1 < len(sizes) else ''}.")


def _entries(axes):
    """Handles of a panel by label, each label once."""
    entries = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    return entries
