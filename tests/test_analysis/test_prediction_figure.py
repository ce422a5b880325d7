"""The picture of a prediction, read back from the figure."""
import numpy as np
import pytest

from mmgcp.analysis import prediction_figure


@pytest.fixture
def panels(monkeypatch):
    """A function that returns the panels of the figure of a prediction."""
    figures = []
    monkeypatch.setattr(prediction_figure, 'save_figure', lambda figure, path, formats: figures.append(figure))
    return lambda *prediction: prediction_figure.plot_prediction(*prediction, 'a.png') or figures[-1].axes


def test_classes_of_one_name_have_bars_of_their_own(panels):
    """ImageNet has two classes called crane, the bird and the machine."""
    names, scores = ['crane', 'stork', 'crane'], [0.5, 0.3, 0.1]
    *_, bars = panels(np.zeros((8, 8, 3), np.uint8), names, scores, None)
    drawn = [(bar.get_y() + bar.get_height() / 2, bar.get_width()) for bar in bars.patches]
    assert drawn == [(0, 50), (1, 30), (2, 10)]
    assert [tick.get_text() for tick in bars.get_yticklabels()] == names


def test_positive_shares_lie_where_they_are_in_the_picture(panels):
    _, mapped, _ = panels(np.zeros((4, 6, 3), np.uint8), ['a'], [1.], np.array([[2., -2., 0.], [0., 0., 1.]]))
    picture, heat = mapped.images
    assert heat.get_array().tolist() == [[1, 0, 0], [0, 0, 0.5]]
    assert tuple(heat.get_extent()) == tuple(picture.get_extent()) and heat.origin == picture.origin
