"""Tests of the tables and figures of learning rates."""
import numpy as np
import pytest
from matplotlib.figure import Figure

from mmgcp.analysis.learning_rates import (
    draw_learning_rates,
    learning_rate_table,
    merge_equal_curves,
    plot_learning_rates,
    schedules,
)
from mmgcp.utils.logs import Run

ADJU = 0.1 * (1 - np.arange(50) / 49)**2
FAST = 0.1 * (1 - np.arange(30) / 52)**11


class TestMergeEqualCurves:

    def test_equal_values_share_a_name(self):
        merged = merge_equal_curves({'a': ADJU, 'b': FAST, 'c': ADJU * (1 + 1e-12)})
        assert list(merged) == ['a, c', 'b']
        np.testing.assert_array_equal(merged['a, c'], ADJU)
        np.testing.assert_array_equal(merged['b'], FAST)

    def test_length_and_small_differences_count(self):
        curves = {'adju': ADJU, 'shorter': ADJU[:40], 'release': 0.1 * (1 - (np.arange(50) - 1) / 49)**2,
                  'last': np.append(ADJU[:49], 1e-9)}
        assert list(merge_equal_curves(curves)) == list(curves)

    def test_many_names_are_counted(self):
        assert list(merge_equal_curves({name: FAST for name in 'abcd'})) == ['a and 3 more']


def test_table():
    groups = {'ResNet': {'adju': ADJU, 'fast': FAST}, '': {'mine': np.array([0.5])}}
    assert learning_rate_table(groups, [1, 31, 0]).splitlines() == [
        '| setting     | epochs | epoch 1 | epoch 31 | epoch 0 |     last |',
        '| ----------- | -----: | ------: | -------: | ------: | -------: |',
        '| ResNet adju |     50 |     0.1 |    0.015 |         |        0 |',
        '| ResNet fast |     30 |     0.1 |          |         | 1.27e-05 |',
        '| mine        |      1 |     0.5 |          |         |      0.5 |',
    ]


class TestFigure:

    @pytest.mark.parametrize('log', [False, True])
    def test_lines_hold_the_values(self, log):
        ax = Figure().add_subplot()
        draw_learning_rates(ax, {'adju': ADJU, 'fast': FAST}, log)
        lines = {line.get_label(): line for line in ax.get_lines()}
        assert list(lines) == ['adju: 50 epochs', 'fast: 30 epochs']
        for line, rates in zip(lines.values(), (ADJU, FAST), strict=True):
            np.testing.assert_array_equal(line.get_xdata(), np.arange(1, len(rates) + 1))
            np.testing.assert_array_equal(line.get_ydata(), rates)
        assert (ax.get_xlabel(), ax.get_yscale()) == ('Epoch', 'log' if log else 'linear')

    def test_names_that_begin_with_an_underscore_are_in_the_legend(self):
        ax = Figure().add_subplot()
        draw_learning_rates(ax, {'_fast': FAST})
        assert [label.lstrip('\u200b') for label in ax.get_legend_handles_labels()[1]] == ['_fast: 30 epochs']

    def test_log_axis_ends_above_the_last_rate_of_zero(self):
        ax = Figure().add_subplot()
        draw_learning_rates(ax, {'adju': ADJU}, log=True)
        lowest, highest = ax.get_ylim()
        assert ADJU[-1] == 0 < 1e-5 < lowest < ADJU[48] and 0.1 < highest < 1

    def test_panels(self, tmp_path, monkeypatch):
        # The figure as it is styled, caught when it is saved.
        figures = []
        monkeypatch.setattr('mmgcp.analysis.learning_rates.save_figure', lambda figure, *_: figures.append(figure))
        plot_learning_rates({'ResNet': {'adju': ADJU, 'fast': FAST}, 'Other': {'mine': FAST}}, tmp_path / 'lr.png')
        first, second = figures[0].axes
        assert (first.get_title(), first.get_ylabel(), second.get_title()) == ('ResNet', 'Learning rate', 'Other')
        assert [text.get_text() for text in first.get_legend().get_texts()] == ['adju: 50 epochs', 'fast: 30 epochs']
        assert first.get_xlim()[1] > 50 > second.get_xlim()[1]
        for look in ('get_color', 'get_linestyle', 'get_marker'):
            assert len({getattr(line, look)() for line in first.get_lines()}) == 2

    def test_convergence_beside_the_rates(self, tmp_path, monkeypatch):
        figures = []
        monkeypatch.setattr('mmgcp.analysis.learning_rates.save_figure', lambda figure, *_: figures.append(figure))
        runs = [Run(name, 'epoch', (), ({'step': 1, 'accuracy/top1': value}, ))
                for name, value in (('a', 1.), ('b', 2.))]
        plot_learning_rates({'Eq. 9': {'2 - 50': ADJU, '11 - 53': FAST}}, tmp_path / 'lr.png', runs=runs)
        rates, convergence = figures[0].axes
        assert (rates.get_title(), convergence.get_title()) == ('Eq. 9', 'Convergence curves')
        assert [line.get_ydata().tolist() for line in convergence.get_lines()] == [[1.], [2.]]
        assert [text.get_text() for text in convergence.get_legend().get_texts()] == ['a', 'b']
        for look in ('get_color', 'get_linestyle', 'get_marker'):
            first, second = ([getattr(line, look)() for line in ax.get_lines()] for ax in (rates, convergence))
            assert first == second

    def test_legends_cover_no_axes_and_stay_in_the_figure(self, tmp_path, monkeypatch):
        figures = []
        monkeypatch.setattr('mmgcp.analysis.learning_rates.save_figure', lambda figure, *_: figures.append(figure))
        curves = {f'setting {i}': FAST + i for i in range(7)}
        plot_learning_rates({'a': curves, 'b': {'mine': FAST}, 'c': curves}, tmp_path / 'lr.png')
        figures[0].draw_without_rendering()
        boxes = [ax.get_legend().get_window_extent() for ax in figures[0].axes]
        below = min(ax.xaxis.label.get_window_extent().y0 for ax in figures[0].axes)
        assert all(box.y1 <= below and box.y0 >= 0 for box in boxes)
        assert all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:], strict=False))

    def test_files(self, tmp_path):
        paths = plot_learning_rates({'': {'adju': ADJU}}, tmp_path / 'new' / 'lr.png', log=True, formats=['svg'])
        assert [path.name for path in paths] == ['lr.png', 'lr.svg']
        assert all(path.stat().st_size > 5000 for path in paths)

    def test_out_must_be_png(self, tmp_path):
        with pytest.raises(ValueError, match='must end in .png'):
            plot_learning_rates({'': {'adju': ADJU}}, tmp_path / 'lr.jpg')


def test_schedules_of_table_3():
    found = schedules()
    assert list(found) == ['ResNet', 'MobileNetV2', 'ShuffleNetV2']
    assert list(found['ResNet']) == ['LR_norm', 'LR_fast', 'LR_adju', 'LR_adju_release', 'LR_fast_release']
    assert list(found['MobileNetV2']) == ['LR_norm', 'LR_fast', 'LR_adju', 'LR_adju_release']
    file, options = found['ShuffleNetV2']['LR_fast']
    assert (file.name, options) == ('shufflenetv2_lr_fast.py', {})
    file, options = found['ResNet']['LR_fast_release']
    assert (file.name, options) == ('resnet_lr_fast.py', {'param_scheduler.first_epoch': 0})
