"""Tests of the table and the figure of gradients."""
import pytest

from mmgcp.analysis.table_1 import (
    EXACT,
    GAP,
    KFAC,
    TRAINED,
    gradient_rows,
    plot_gradients,
)
from mmgcp.analysis.tables import markdown_table


def record(iteration, norms, cosine, names=(TRAINED, EXACT, GAP)):
    """A measurement in which all rows have one cosine similarity to each other."""
    rows = {name: dict(norm=norm, effective_rank=10.04 * norm, singular_values=[1, 0.5, 0.],
                       cosines={other: 1. if other == name else cosine for other in names})
            for name, norm in zip(names, norms, strict=True)}
    return dict(checkpoint=f'epoch_{iteration}.pth', iter=iteration, loss=1., rows=rows)


RECORDS = [record(20, (2, 3, 1), 0.25), record(10, (4, 2, 8), -0.5)]


def test_table():
    assert markdown_table(*gradient_rows(RECORDS)).splitlines() == [
        '| gradient       | iteration | norm ratio | effective rank | cos GCP as trained | cos GCP, Eq. 6 | cos GAP |',
        '| -------------- | --------: | ---------: | -------------: | -----------------: | -------------: | ------: |',
        '| GCP as trained |        10 |          1 |           40.2 |              1.000 |         -0.500 |  -0.500 |',
        '| GCP, Eq. 6     |        10 |        0.5 |           20.1 |             -0.500 |          1.000 |  -0.500 |',
        '| GAP            |        10 |          2 |           80.3 |             -0.500 |         -0.500 |   1.000 |',
        '| GCP as trained |        20 |          1 |           20.1 |              1.000 |          0.250 |   0.250 |',
        '| GCP, Eq. 6     |        20 |        1.5 |           30.1 |              0.250 |          1.000 |   0.250 |',
        '| GAP            |        20 |        0.5 |           10.0 |              0.250 |          0.250 |   1.000 |',
    ]


def test_a_repeated_training_replaces_its_forerunner():
    first = record(10, (1, 5, 5), 0.5)
    assert gradient_rows([first, *RECORDS]) == gradient_rows(RECORDS) != gradient_rows([*RECORDS, first])


def lines(ax):
    """Values of the curves by label."""
    return {line.get_label(): list(zip(*line.get_data(), strict=True)) for line in ax.get_lines()}


class TestFigure:

    @pytest.fixture
    def panels(self, monkeypatch):
        """A function that returns the panels of the figure of some records."""
        figures = []
        monkeypatch.setattr('mmgcp.analysis.table_1.save_figure', lambda figure, *_: figures.append(figure))
        return lambda records: plot_gradients(records, 'gradients.png') or figures[-1].axes

    def test_values(self, panels):
        cosines, norms, spectra = panels(RECORDS[::-1])
        both = [(10, -0.5), (20, 0.25)]
        assert lines(cosines) == {TRAINED: both, EXACT: [(10, 1), (20, 1)], GAP: both}
        assert cosines.get_ylabel() == 'Cosine similarity to GCP, Eq. 6'
        assert lines(norms) == {TRAINED: [(10, 1), (20, 1)], EXACT: [(10, 0.5), (20, 1.5)], GAP: [(10, 2), (20, 0.5)]}
        assert norms.get_yscale() == spectra.get_yscale() == 'log'
        assert spectra.get_xlabel() == 'Singular value at iteration 20'

    def test_spectra_and_their_zeros(self, panels):
        *_, spectra = panels(RECORDS[:1])
        assert lines(spectra) == dict.fromkeys([TRAINED, EXACT, GAP], [(1, 1), (2, 0.5), (3, 0)])
        assert 0.1 < spectra.get_ylim()[0] < 0.5

    def test_cosines_of_a_network_with_average_pooling_are_those_to_its_gradient(self, panels):
        cosines, *_ = panels([record(10, (1, 50), 0.75, (GAP, KFAC))])
        assert lines(cosines) == {GAP: [(10, 1)], KFAC: [(10, 0.75)]}
        assert cosines.get_ylabel() == 'Cosine similarity to GAP'

    def test_rows_look_the_same_in_all_panels(self, panels):
        axes = panels(RECORDS)
        assert [text.get_text() for text in axes[0].figure.legends[0].get_texts()] == [TRAINED, EXACT, GAP]
        assert len({tuple(line.get_color() for line in ax.get_lines()) for ax in axes}) == 1

    def test_files(self, tmp_path):
        paths = plot_gradients(RECORDS, tmp_path / 'new' / 'gradients.png', formats=['svg'])
        assert [path.name for path in paths] == ['gradients.png', 'gradients.svg']
        assert all(path.stat().st_size > 5000 for path in paths)


@pytest.mark.parametrize('function', [gradient_rows, lambda records: plot_gradients(records, 'gradients.png')])
def test_mistakes(function):
    with pytest.raises(ValueError, match='no measured gradients'):
        function([])
    with pytest.raises(ValueError, match="'epoch_30.pth' have other rows than those of 'epoch_10.pth'"):
        function([*RECORDS, record(30, (1, 50), 0.75, (GAP, KFAC))])
