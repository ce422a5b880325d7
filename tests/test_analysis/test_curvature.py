import re

import numpy as np
import pytest

from mmgcp.analysis import curvature
from mmgcp.analysis.curvature import (
    check_same_settings,
    curvature_rows,
    plot_curvature,
    read_curvature,
)
from mmgcp.analysis.tables import markdown_table
from mmgcp.utils.records import append_record, open_records

SETTINGS = dict(images=64, fingerprint='a1b2', seed=0, eigenvalues=2, smallest=False, samples=10)
NAN = float('nan')


def write(work_dir, records, **settings):
    """A measured run: (step, loss, eigenvalues, trace, its error) each."""
    unit = settings.pop('unit', 'epoch')
    open_records(work_dir / 'curvature.json', SETTINGS | settings)
    for step, loss, eigenvalues, trace, error in records:
        append_record(work_dir / 'curvature.json', dict(
            checkpoint=f'{unit}_{step}.pth', unit=unit, step=step, loss=loss, eigenvalues=eigenvalues,
            residuals=[1e-4 / (place + 1) for place, _ in enumerate(eigenvalues)],
            smallest=[-0.5] if settings.get('smallest') else [], trace=trace, trace_error=error, products=35,
            seconds=70.26))
    return read_curvature(work_dir)


@pytest.fixture
def gap(tmp_path):
    return write(tmp_path / 'gap', [(1, 2.25, [80., 40.125], 1000., 50.), (2, 1.5, [60.], 800., 40.),
                                    (3, NAN, [], NAN, NAN)])


@pytest.fixture
def gcp(tmp_path):
    return write(tmp_path / 'gcp', [(1, 2.2, [8., 4.], 100., 5.), (2, 1.25, [6., 3.5], 80., 4.)])


def test_what_is_read(gap, gcp):
    assert (gap.name, gap.unit, gap.settings) == ('gap', 'epoch', SETTINGS)
    np.testing.assert_array_equal(gap.column('step'), [1, 2, 3])
    np.testing.assert_array_equal(gap.largest, [80, NAN, NAN])  # of one of two none knows whether it is the largest
    np.testing.assert_array_equal(gap.column('trace'), [1000, 800, NAN])
    np.testing.assert_array_equal(gcp.largest, [8, 6])


def test_later_measurements_replace_earlier_ones_and_are_put_in_order(tmp_path):
    run = write(tmp_path, [(10, 1., [3., 2.], 5., 1.), (9, 2., [4., 2.], 6., 1.), (10, 1.5, [7., 2.], 8., 1.)])
    np.testing.assert_array_equal(run.column('step'), [9, 10])
    np.testing.assert_array_equal(run.largest, [4, 7])


def test_table(gap, gcp):
    assert markdown_table(*curvature_rows([gap, gcp])).splitlines() == [
        '| run | epoch | loss | lambda_1 | lambda_2 | converged | residual |     trace | products | seconds |',
        '| --- | ----: | ---: | -------: | -------: | --------: | -------: | --------: | -------: | ------: |',
        '| gap |     1 | 2.25 |       80 |    40.12 |    2 of 2 |    1e-04 | 1000 ± 50 |       35 |    70.3 |',
        '| gap |     2 |  1.5 |       60 |      nan |    1 of 2 |    1e-04 |  800 ± 40 |       35 |    70.3 |',
        '| gap |     3 |  nan |      nan |      nan |    0 of 2 |      nan | nan ± nan |       35 |    70.3 |',
        '| gcp |     1 |  2.2 |        8 |        4 |    2 of 2 |    1e-04 |   100 ± 5 |       35 |    70.3 |',
        '| gcp |     2 | 1.25 |        6 |      3.5 |    2 of 2 |    1e-04 |    80 ± 4 |       35 |    70.3 |',
    ]


def test_most_negative_eigenvalue_has_a_column_where_it_was_measured(tmp_path):
    run = write(tmp_path, [(5, 1., [3., 2.], 5., 1.)], smallest=True, unit='iteration')
    header, (row, ) = curvature_rows([run])
    assert header[1:8] == ['iteration', 'loss', 'lambda_1', 'lambda_2', 'converged', 'residual', 'smallest']
    assert row[7] == '-0.5'


@pytest.fixture
def panels(monkeypatch):
    """A function that returns the panels of the figure of some runs."""
    figures = []
    monkeypatch.setattr(curvature, 'save_figure', lambda figure, *_: figures.append(figure))
    return lambda runs: plot_curvature(runs, 'figure.png') or figures[-1].axes


def test_figure_shows_values_errors_and_gaps(gap, gcp, panels):
    panels = panels([gap, gcp])
    assert [panel.get_yscale() for panel in panels] == ['log', 'log']
    eigenvalues, traces = (panel.containers for panel in panels)
    np.testing.assert_array_equal(eigenvalues[0].lines[0].get_ydata(), [80, NAN, NAN])
    np.testing.assert_array_equal(eigenvalues[1].lines[0].get_xydata(), [[1, 8], [2, 6]])
    bars, = traces[1].lines[2]
    np.testing.assert_allclose([bar[:, 1] for bar in bars.get_segments()], [[95, 105], [76, 84]])
    assert eigenvalues[0].get_label() == 'gap (2 of 3 not found)' and eigenvalues[1].get_label() == 'gcp'
    assert eigenvalues[0].lines[0].get_color() == traces[0].lines[0].get_color() != eigenvalues[1].lines[0].get_color()
    assert panels[0].get_xlabel() == 'Epoch'


def test_names_that_begin_with_an_underscore_are_in_the_legend(tmp_path, panels):
    run = write(tmp_path / '_gcp', [(1, 2.2, [8., 4.], 100., 5.)])
    assert [panel.get_legend_handles_labels()[1] for panel in panels([run])] == [['\u200b_gcp']] * 2


def test_files(gap, gcp, tmp_path):
    paths = plot_curvature([gap, gcp], tmp_path / 'figure.png', ['svg'])
    assert paths == [tmp_path / 'figure.png', tmp_path / 'figure.svg'] and paths[0].stat().st_size > 10000


def test_axes_are_linear_where_values_may_be_negative_or_are_missing(tmp_path, panels):
    negative = write(tmp_path / 'negative', [(1, 2.2, [8., 4.], 3., 5.)])
    missing = write(tmp_path / 'missing', [(1, NAN, [], NAN, NAN)])
    for runs, scales in ((([negative]), ['log', 'linear']), ([missing], ['linear', 'linear'])):
        assert [panel.get_yscale() for panel in panels(runs)] == scales


def test_runs_that_cannot_be_compared(gcp, tmp_path):
    other = write(tmp_path / 'other', [(1, 2.2, [8., 4.], 3., 5.)], fingerprint='c3d4', seed=1)
    sentence = (r"'gcp' and 'other' cannot be compared, for they differ in what is measured \(fingerprint a1b2 and "
                r'c3d4, seed 0 and 1\): measure both with the same settings on the same images\.$')
    for function in (curvature_rows, lambda runs: plot_curvature(runs, tmp_path / 'figure.png')):
        with pytest.raises(ValueError, match=sentence):
            function([gcp, other])
    assert not (tmp_path / 'figure.png').exists()
    check_same_settings(dict(gcp=gcp.settings, same=dict(gcp.settings)))
    iterations = write(tmp_path / 'iterations', [(1, 2.2, [8., 4.], 3., 5.)], unit='iteration')
    with pytest.raises(ValueError, match=r"no common axis \('gcp' by epoch, 'iterations' by iteration\)"):
        curvature_rows([gcp, iterations])


def test_nothing_measured_yet(tmp_path):
    with pytest.raises(ValueError, match=r"curvature.json' does not exist: measure first"):
        read_curvature(tmp_path)
    open_records(tmp_path / 'curvature.json', SETTINGS)
    with pytest.raises(ValueError, match=re.escape(f"'{tmp_path / 'curvature.json'}' holds no measurement yet")):
        read_curvature(tmp_path)
