import matplotlib.image
import numpy as np
from matplotlib.colors import to_rgb

from mmgcp.analysis.probes import plot_probes
from mmgcp.analysis.style import COLORS


def test_each_probe_has_its_colour(tmp_path):
    probes = {'linear': (1548, [40., 42.]), 'gcp': (1644, [50.])}
    paths = plot_probes(probes, tmp_path / 'probes.png')
    assert paths == [tmp_path / 'probes.png', tmp_path / 'probes.pdf']
    pixels = matplotlib.image.imread(paths[0])[..., :3]
    drawn = [bool((np.abs(pixels - to_rgb(color)).max(-1) < 0.01).any()) for color in COLORS[:3]]
    assert drawn == [True, True, False]
