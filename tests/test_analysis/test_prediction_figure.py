"""The picture of a prediction, read back from the figure."""
import numpy as np

from mmgcp.analysis import prediction_figure


def test_classes_of_one_name_have_bars_of_their_own(tmp_path, monkeypatch):
    """ImageNet has two classes called crane, the bird and the machine."""
    drawn = []
    monkeypatch.setattr(prediction_figure, 'save_figure', lambda figure, path, formats: drawn.append(figure))
    names, scores = ['crane', 'stork', 'crane'], [0.5, 0.3, 0.1]
    prediction_figure.plot_prediction(np.zeros((8, 8, 3), np.uint8), names, scores, None, tmp_path / 'a.png')
    bars = drawn[0].axes[-1]
    drawn = [(bar.get_y() + bar.get_height() / 2, bar.get_width()) for bar in bars.patches]
    assert drawn == [(0, 50), (1, 30), (2, 10)]
    assert [tick.get_text() for tick in bars.get_yticklabels()] == names
