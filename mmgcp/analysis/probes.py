"""Figure of probes: accuracy against parameters."""
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from .style import save_figure, use_style


def plot_probes(probes: Mapping[str, tuple[int, Sequence[float]]], path: str | Path) -> list[Path]:
    """Draw the mean accuracy of each probe, with bars from the least to the most accurate seed.

    Args:
        probes (Mapping[str, tuple[int, Sequence[float]]]): Parameters, and accuracies in per cent by seed, by name.
        path (str or Path): The PNG file; a PDF file is written beside it.

    Returns:
        list[Path]: The files written.
    """
    with use_style():
        figure = Figure()
        axes = figure.subplots()
        for name, (parameters, accuracies) in probes.items():
            mean = sum(accuracies) / len(accuracies)
            bars = [[mean - min(accuracies)], [max(accuracies) - mean]]
            axes.errorbar([parameters], [mean], bars, linestyle='none', capsize=3)
            axes.annotate(name, (parameters, mean), (7, 0), textcoords='offset points', va='center')
        axes.set(xscale='log', xlabel='trained parameters', ylabel='top-1 accuracy (%)')
        axes.margins(x=0.2)
        return save_figure(figure, path)
