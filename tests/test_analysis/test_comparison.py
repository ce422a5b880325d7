import pytest
from PIL import Image

from mmgcp.analysis import comparison
from mmgcp.analysis.comparison import comparison_sentence, plot_comparison
from mmgcp.analysis.style import save_figure
from mmgcp.utils.logs import Run


def run(name, *accuracies, unit='epoch'):
    return Run(name, unit, (), tuple({'step': i + 1, 'accuracy/top1': a} for i, a in enumerate(accuracies)))


RUNS = [run('average pooling', 9., 31.2, 42.6), run('covariance pooling', 15., 42., 62.5)]


def test_sentence_holds_the_last_accuracies():
    assert comparison_sentence(RUNS) == ('New images classified correctly after 3 passes over the same data: '
                                         '43 % with average pooling, 62 % with covariance pooling')


def test_trainings_by_iteration():
    runs = [run('A', 9., 31.2, unit='iteration'), run('B', 15., 42., unit='iteration')]
    assert comparison_sentence(runs) == ('New images classified correctly after 2 iterations on the same data: '
                                         '31 % with A, 42 % with B')
    with pytest.raises(ValueError, match=r'^The runs have \[2, 3] iterations: compare runs of the same length.$'):
        comparison_sentence([runs[0], run('longer', 10., 20., 30., unit='iteration')])


def test_runs_of_different_lengths_are_not_compared():
    with pytest.raises(ValueError, match=r'^The runs have \[2, 3] epochs: compare runs of the same length.$'):
        comparison_sentence([RUNS[0], run('short', 10., 20.)])


def test_picture_shows_samples_and_curves(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(comparison, 'save_figure', lambda figure, *arguments, **settings: (
        figures.append(figure) or save_figure(figure, *arguments, **settings)))
    pictures = [tmp_path / name / '0.png' for name in ('red_disc', 'blue_disc', 'red_square', 'blue_square')]
    for picture, colour in zip(pictures, ('red', 'blue', 'red', 'blue'), strict=True):
        picture.parent.mkdir()
        Image.new('RGB', (32, 32), colour).save(picture)
    files = plot_comparison(RUNS, pictures, tmp_path / 'comparison.png')
    assert files == [tmp_path / 'comparison.png'] and files[0].stat().st_size > 10_000
    *samples, curves = figures[0].axes
    assert [ax.get_title() for ax in samples] == ['red disc', 'blue disc', 'red square', 'blue square', '', '']
    assert [ax.images[0].get_array()[0, 0].tolist() for ax in samples[:4]] == 2 * [[255, 0, 0], [0, 0, 255]]
    assert [line.get_xydata().tolist() for line in curves.lines] == [
        [[1, 9], [2, 31.2], [3, 42.6]], [[1, 15], [2, 42], [3, 62.5]]]
    assert [(text.get_text(), text.xy) for text in curves.texts] == [
        ('average pooling', (3, 42.6)), ('covariance pooling', (3, 62.5))]
