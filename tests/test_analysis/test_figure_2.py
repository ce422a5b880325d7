"""Tests of the reading of landscapes, and of the figure and table made from them."""
import json
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from mmgcp.analysis.figure_2 import (
    NOT_FINITE,
    draw_landscape,
    landscape_rows,
    plot_landscape,
    read_landscape,
    read_landscapes,
)
from mmgcp.analysis.tables import markdown_table
from mmgcp.utils.logs import note_continued

NAN, INF = float('nan'), float('inf')
SETTINGS = dict(at='stem', layer='backbone.maxpool', direction='ascent', step_sizes=[1.0, 2.0, 4.0], interval=10,
                images=8)


def measurement(iteration, losses=(3.0, 4.0, 6.0), distances=(1.0, 3.0, 2.0), loss=2.5):
    smoothness = [distance / (eta * 0.5) for distance, eta in zip(distances, SETTINGS['step_sizes'], strict=True)]
    return dict(iter=iteration, epoch=1, loss=loss, gradient_norm=0.5, losses=list(losses), distances=list(distances),
                smoothness=smoothness, seconds=2.0)


def write(work_dir, records, time='20240101_120000', tail='', **settings):
    settings = {**SETTINGS, **settings}
    file = work_dir / time / 'landscape' / f"{settings['at']}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [{'settings': settings}, *records]
    file.write_text(''.join(json.dumps(line) + '\n' for line in lines) + tail)
    return work_dir


@pytest.fixture
def runs(tmp_path):
    """Two runs of 5 and 4 measurements, the first with overflows at iterations 10 (a loss) and 30 (everything)."""
    gap = [measurement(iteration) for iteration in range(0, 50, 10)]
    gap[1] = measurement(10, losses=(3.0, NAN, INF))
    gap[3] = measurement(30, losses=(NAN, ) * 3, distances=(INF, NAN, NAN))
    gcp = [measurement(iteration, (2.0, 2.5, 3.0), (0.1, 0.2, 0.3), loss=1.5) for iteration in range(0, 40, 10)]
    folders = [write(tmp_path / 'gap', gap), write(tmp_path / 'gcp', gcp)]
    with pytest.warns(UserWarning, match="'gcp' ends at iteration 30, 'gap' at 40"):
        return read_landscapes(folders)


class TestRead:

    def test_values(self, tmp_path):
        run = read_landscape(write(tmp_path / 'run', [measurement(0), measurement(10, losses=(3.0, NAN, INF))]))
        assert (run.name, run.at, run.layer, run.direction) == ('run', 'stem', 'backbone.maxpool', 'ascent')
        assert run.iters.dtype == np.int64
        np.testing.assert_array_equal(run.iters, [0, 10])
        np.testing.assert_array_equal(run.step_sizes, [1, 2, 4])
        np.testing.assert_array_equal(run.losses, [[3, 4, 6], [3, NAN, INF]])
        np.testing.assert_array_equal(run.smoothness[0], [2, 3, 1])
        np.testing.assert_array_equal(run.finite, [[True] * 3, [True, False, False]])
        np.testing.assert_array_equal(run.loss, [2.5, 2.5])
        np.testing.assert_array_equal(run.seconds, [2, 2])

    def test_bounds_are_those_of_the_finite_values(self, runs):
        low, high = runs[0].bounds('losses')
        np.testing.assert_array_equal(low, [3, 3, 3, NAN, 3])
        np.testing.assert_array_equal(high, [6, 3, 6, NAN, 6])

    def test_resumed_training_replaces_from_its_first_measurement(self, tmp_path):
        write(tmp_path, [measurement(20, loss=9), measurement(30, loss=9)], time='20240102_000000')
        write(tmp_path, [measurement(iteration) for iteration in range(0, 50, 10)], time='20240101_000000')
        write(tmp_path, [], time='20240103_000000')  # stopped before its first measurement
        run = read_landscape(tmp_path)
        np.testing.assert_array_equal(run.iters, [0, 10, 20, 30])
        np.testing.assert_array_equal(run.loss, [2.5, 2.5, 9, 9])

    def test_measurements_of_another_training_do_not_count(self, tmp_path):
        write(tmp_path, [measurement(0), measurement(10)], time='20240101_000000')
        write(tmp_path, [measurement(20)], time='20240102_000000')  # resumed from a checkpoint of another folder
        note_continued(tmp_path / '20240102_000000', epoch=0, iteration=0)
        write(tmp_path, [measurement(30)], time='20240103_000000')  # and then from its own
        note_continued(tmp_path / '20240103_000000', epoch=3, iteration=30)
        np.testing.assert_array_equal(read_landscape(tmp_path).iters, [20, 30])

    def test_cut_off_line_is_left_out_with_a_warning(self, tmp_path):
        write(tmp_path, [measurement(0)], tail='{"iter": 10, "lo')
        with pytest.warns(UserWarning, match='last line .* cut off'):
            assert len(read_landscape(tmp_path).iters) == 1

    def test_several_places(self, tmp_path):
        write(tmp_path, [measurement(0)])
        write(tmp_path, [measurement(0, loss=7)], at='backbone.layer1.0')
        with pytest.raises(ValueError, match=r'at backbone\.layer1\.0, stem: name one with --at'):
            read_landscape(tmp_path)
        assert read_landscape(tmp_path, 'backbone.layer1.0').loss == [7]
        with pytest.raises(ValueError, match=r"no landscape at 'image': there is backbone\.layer1\.0, stem"):
            read_landscape(tmp_path, 'image')

    @pytest.mark.parametrize('settings, difference', [
        (dict(step_sizes=[0.1, 5.0, 75.0]), r'different step_sizes \(3 from 1 to 4 and 3 from 0.1 to 75\)'),
        (dict(direction='descent'), r'different direction \(ascent and descent\)'),
        (dict(layer='backbone.conv1'), r'different layer \(backbone.maxpool and backbone.conv1\)'),
    ])
    def test_starts_of_different_experiments(self, tmp_path, settings, difference):
        write(tmp_path, [measurement(0)])
        write(tmp_path, [measurement(0)], time='20240102_000000', **settings)
        with pytest.raises(ValueError, match=rf'20240101_120000.*20240102_000000.*{difference}.*move away'):
            read_landscape(tmp_path)

    def test_nothing_there(self, tmp_path):
        with pytest.raises(ValueError, match=f"'{tmp_path}' holds no landscape .* mmgcp.LandscapeHook"):
            read_landscape(tmp_path)
        with pytest.raises(ValueError, match='holds no measurement .* wait'):
            read_landscape(write(tmp_path, []))

    def test_records_of_another_kind(self, tmp_path):
        record = measurement(0)
        with pytest.raises(ValueError, match=r"line 3 of .*stem\.json' has 2 losses for 3 step sizes"):
            read_landscape(write(tmp_path, [record, {**record, 'losses': [1.0, 2.0]}]))
        del record['distances']
        with pytest.raises(ValueError, match=r"line 2 of .*stem\.json' is no measurement .* lacks distances"):
            read_landscape(write(tmp_path, [record]))
        (tmp_path / '20240101_120000/landscape/stem.json').write_text('{"settings": {"at": "stem", "step_sizes": [1]}}')
        with pytest.raises(ValueError, match=r"stem\.json' is no landscape: its settings lack direction, layer"):
            read_landscape(tmp_path)


class TestReadSeveral:

    @pytest.mark.parametrize('key, value, difference', [
        ('step_sizes', [1.0, 2.0, 5.0], '3 from 1 to 4 and 3 from 1 to 5'),
        ('direction', 'descent', 'ascent and descent'),
        ('at', 'image', 'stem and image'),
        ('images', 16, '8 and 16'),  # steps act on the gradient of the mean loss: each image's are half as long
    ])
    def test_only_what_was_measured_alike_is_compared(self, tmp_path, key, value, difference):
        folders = [write(tmp_path / 'a', [measurement(0)]), write(tmp_path / 'b', [measurement(0)], **{key: value})]
        with pytest.raises(ValueError, match=rf"'a' and 'b' were measured with different {key} \({difference}\)"):
            read_landscapes(folders)

    def test_stems_of_two_networks_may_be_compared(self, tmp_path):
        folders = [write(tmp_path / 'a', [measurement(0)]),
                   write(tmp_path / 'b', [measurement(0)], layer='backbone.conv1')]
        assert [run.name for run in read_landscapes(folders, ['A', 'B'])] == ['A', 'B']
        with pytest.raises(ValueError, match='1 labels for 2 runs'):
            read_landscapes(folders, ['A'])
        with pytest.raises(ValueError, match="called 'A'"):
            read_landscapes(folders, ['A', 'A'])


def test_table_tells_the_first_measurement_from_the_others(tmp_path):
    """The untrained network's ranges are far larger: 3 and 2 against 1 and 4 (geometric mean 2), and 0.5 and 0.02."""
    records = [measurement(0), measurement(10, losses=(1.0, 1.5, 2.0), distances=(0.1, 0.2, 0.6)),
               measurement(20, losses=(1.0, 5.0, 3.0), distances=(0.0, 0.0, 0.0008)),
               measurement(30, losses=(NAN, ) * 3, distances=(NAN, ) * 3)]
    run = read_landscape(write(tmp_path / 'gap', records))
    header, row = (dict(enumerate(map(str.strip, line.split('|')[1:-1])))
                   for line in markdown_table(*landscape_rows([run])).splitlines()[::2])
    assert dict(zip(header.values(), row.values(), strict=True)) == {
        'run': 'gap', 'measurements': '4', 'last iteration': '30', 'first loss range': '3', 'later loss range': '2',
        'first gradient range': '2', 'later gradient range': '0.02', 'first beta': '3', 'later beta': '0.01095',
        'not finite': '25.0%', 's per measurement': '2'}
    assert run.steps == '1 to 4 at batch 8'


def test_a_single_measurement_has_no_later_range(tmp_path):
    run = read_landscape(write(tmp_path, [measurement(0)]))
    assert np.isnan(run.later_range('losses')) and '| N/A |' in ' '.join(markdown_table(*landscape_rows([run])).split())


class TestFigure:

    @pytest.mark.parametrize('quantity', ['losses', 'distances'])
    def test_bands_and_edges(self, runs, quantity):
        ax = Figure().add_subplot()
        draw_landscape(ax, runs, quantity)
        edges = [line for line in ax.get_lines() if line.get_label().startswith('_')]
        assert len(edges) == 4
        for run, low, high in zip(runs, edges[::2], edges[1::2], strict=True):
            for line, bound in zip((low, high), run.bounds(quantity), strict=True):
                np.testing.assert_array_equal(line.get_xdata(), run.iters)
                np.testing.assert_array_equal(line.get_ydata(), bound)
        band = ax.collections[1]
        vertices = np.concatenate([path.vertices for path in band.get_paths()])
        low, high = runs[1].bounds(quantity)
        assert band.get_label() == 'gcp' and (vertices[:, 1].min(), vertices[:, 1].max()) == (low.min(), high.max())
        # Hatches tell them apart in grey print, as colours do.
        assert len({collection.get_hatch() for collection in ax.collections}) == 2
        assert len({line.get_color() for line in edges}) == 2

    def test_loss_lies_inside(self, runs):
        ax = Figure().add_subplot()
        draw_landscape(ax, runs, 'losses')
        lines = {line.get_label(): line for line in ax.get_lines()}
        np.testing.assert_array_equal(lines['gcp: L(X)'].get_ydata(), [1.5] * 4)

    def test_smoothness_is_its_largest_value(self, runs):
        ax = Figure().add_subplot()
        draw_landscape(ax, runs, 'smoothness', log=True)
        lines = {line.get_label(): line for line in ax.get_lines()}
        np.testing.assert_array_equal(lines['gap'].get_ydata(), [3, 3, 3, NAN, 3])
        assert ax.get_yscale() == 'log'

    @pytest.mark.parametrize('quantity', ['losses', 'distances', 'smoothness'])
    def test_overflows_are_marked_at_the_upper_edge(self, runs, quantity):
        ax = Figure().add_subplot()
        draw_landscape(ax, runs, quantity)
        marked = {line.get_label(): line for line in ax.get_lines() if NOT_FINITE in line.get_label()}
        assert list(marked) == [f'gap: {NOT_FINITE}']
        line = marked[f'gap: {NOT_FINITE}']
        np.testing.assert_array_equal(line.get_xdata(), [10, 30])
        assert (line.get_ydata() >= 1).all() and line.get_transform() == ax.get_xaxis_transform()
        assert line.get_marker() == 'v'

    @pytest.mark.parametrize('quantity, lines', [('losses', ['', ': L(X)']), ('smoothness', [''])])
    def test_names_that_begin_with_an_underscore_are_in_the_legend(self, runs, quantity, lines):
        ax = Figure().add_subplot()
        draw_landscape(ax, [replace(runs[0], name='_gap')], quantity)
        labels = [label.lstrip('\u200b') for label in ax.get_legend_handles_labels()[1]]
        assert sorted(labels) == sorted(f'_gap{line}' for line in (*lines, f': {NOT_FINITE}'))

    def test_a_single_measurement_is_visible(self, tmp_path):
        ax = Figure().add_subplot()
        draw_landscape(ax, [read_landscape(write(tmp_path, [measurement(0)]))], 'losses')
        assert {line.get_marker() for line in ax.get_lines()} == {'o'}

    @pytest.fixture
    def figure(self, runs, monkeypatch):
        """A function that returns the figure as it is when it is saved."""
        figures = []
        monkeypatch.setattr('mmgcp.analysis.figure_2.save_figure', lambda figure, *_: figures.append(figure))

        def figure(panels=None, **options):
            plot_landscape(panels or {'ResNet-18': runs}, 'figure.png', **options)
            figures[-1].draw_without_rendering()
            return figures[-1]

        return figure

    def test_rows_and_columns(self, figure, runs):
        made = figure({'ResNet-18': runs, 'MobileNetV2': runs}, beta=True)
        assert [ax.get_title() for ax in made.axes] == ['ResNet-18'] * 3 + ['MobileNetV2'] * 3
        assert [ax.get_ylabel() for ax in made.axes[:2]] == ['Loss along the gradient', 'Gradient distance']
        legend, = made.legends
        assert [text.get_text() for text in legend.get_texts()] == [
            'gap', 'gap: L(X)', f'gap: {NOT_FINITE}', 'gcp', 'gcp: L(X)']
        assert not any(ax.get_legend() for ax in made.axes)
        assert len(figure().axes) == 2

    def test_files(self, runs, tmp_path):
        paths = plot_landscape({'': runs}, tmp_path / 'new' / 'figure.png', formats=['svg'])
        assert [path.name for path in paths] == ['figure.png', 'figure.svg']
        assert all(path.stat().st_size > 5000 for path in paths)
