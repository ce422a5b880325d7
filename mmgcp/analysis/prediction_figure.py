"""Draw a classifier's prediction: the picture, the class-activation map on it, and the scores."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from .style import COLORS, save_figure, use_style


def plot_prediction(image: np.ndarray, names: Sequence[str], scores: Sequence[float], shares: np.ndarray | None,
                    path: str | Path) -> None:
    """Write the figure of a prediction, a PNG file.

    Args:
        image (np.ndarray): Picture as the network saw it, (H, W, 3), uint8, RGB.
        names (Sequence[str]): Names of the classes, the best first.
        scores (Sequence[float]): Their scores in [0, 1].
        shares (np.ndarray, optional): What each part of the picture adds to the score of the first class, (h, w).
            Positive shares are drawn, relative to the largest.
        path (str | Path): The PNG file; missing folders are made.
    """
    with use_style():
        figure = Figure(figsize=(6 if shares is None else 8.5, 2.6))
        *pictures, bars = figure.subplots(1, 2 if shares is None else 3)
        for axes in pictures:
            axes.imshow(image)
            axes.axis('off')
        if shares is not None:
            pictures[1].set_title(f'activation map: {names[0]}')
            heat, (height, width) = np.clip(shares, 0, None), image.shape[:2]
            pictures[1].imshow(heat / (heat.max() or 1), cmap='inferno', vmin=0, vmax=1, alpha=0.6,
                               interpolation='bilinear', extent=(-0.5, width - 0.5, height - 0.5, -0.5))
        percent = [100 * score for score in scores]
        rows = range(len(names))  # two classes of ImageNet are called crane
        bars.barh(rows, percent, color=COLORS[2])
        bars.set_yticks(rows, names)
        bars.bar_label(bars.containers[0], fmt='%.1f', padding=3)
        bars.invert_yaxis()
        bars.set(xlabel='Score (%)', xlim=(0, 115))
        bars.grid(visible=False)
        save_figure(figure, path, formats=())
