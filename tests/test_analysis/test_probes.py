import matplotlib.image
import numpy as np
from matplotlib.colors import to_rgb

from mmgcp.analysis import probes as module
from mmgcp.analysis.probes import plot_probes
from mmgcp.analysis.style import COLORS


def test_each_probe_has_its_colour(tmp_path):
    probes = {'linear': (1548, [40., 42.]), 'gcp': (1644, [50.])}
    paths = plot_probes(probes, tmp_path / 'probes.png')
    assert paths == [tmp_path / 'probes.png', tmp_path / 'probes.pdf']
    pixels = matplotlib.image.imread(paths[0])[..., :3]
    drawn = [bool((np.abs(pixels - to_rgb(color)).max(-1) < 0.01).any()) for color in COLORS[:3]]
    assert drawn == [True, True, False]


def test_bars_go_from_the_least_to_the_most_accurate_seed(monkeypatch):
    figures = []
    monkeypatch.setattr(module, 'save_figure', lambda figure, *_: figures.append(figure))
    plot_probes({'linear': (1548, [41., 40., 45.])}, 'probes.png')
    point, _, (bars, ) = figures[0].axes[0].containers[0].lines
    assert point.get_xydata().tolist() == [[1548, 42]]
    assert bars.get_segments()[0].tolist() == [[1548, 40], [1548, 45]]
