"""Tests of the reading of mmengine's logs, and of the convergence table and figure made from them."""
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from mmgcp.analysis.convergence import (
    convergence_table,
    draw_convergence,
    draw_curves,
    matching_epoch,
    plot_convergence_panels,
    read_validated_runs,
)
from mmgcp.utils.logs import read_run, read_runs

REPO = Path(__file__).parents[2]
TOOL = REPO / 'tools' / 'analysis_tools' / 'plot_convergence.py'
NAN = float('nan')


def train_line(epoch, iteration, **more):
    return {'lr': 0.1, 'data_time': 0.01, 'loss': 2.5, 'time': 0.2, 'epoch': epoch, 'iter': iteration, 'memory': 900,
            'step': iteration, **more}


def val_line(step, value, metric='accuracy/top1'):
    return {metric: value, 'data_time': 0.01, 'time': 0.1, 'step': step}


def by_epoch(values, first=1):
    """Lines of a training with two training lines an epoch, validated with ``values`` from epoch ``first`` on."""
    lines = []
    for epoch, value in enumerate(values, first):
        lines += [train_line(epoch, 20 * epoch - 10), train_line(epoch, 20 * epoch), val_line(epoch, value)]
    return lines


def write_log(work_dir, lines, time='20240101_120000', tail=''):
    folder = work_dir / time / 'vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text(''.join(json.dumps(line) + '\n' for line in lines) + tail)
    return work_dir


@pytest.fixture
def runs(tmp_path):
    """A reference of 6 epochs, a run that matches it at epoch 3, and one that does not."""
    curves = {'gap': [30, 50, 55, 66, 70.47, 70.1], 'gcp': [40, 60, 71, 74.86], 'gap_fast': [35, NAN, 67.5]}
    return read_runs([write_log(tmp_path / name, by_epoch(values)) for name, values in curves.items()])


class TestReadRun:

    def test_values(self, tmp_path):
        run = read_run(write_log(tmp_path / 'resnet18_gcp', by_epoch([61.2, NAN, 63.0])))
        epochs, values = run.curve('accuracy/top1')
        assert (run.name, run.unit, run.metrics) == ('resnet18_gcp', 'epoch', ['accuracy/top1'])
        assert epochs.dtype == np.int64 and values.dtype == np.float64
        np.testing.assert_array_equal(epochs, [1, 2, 3])
        np.testing.assert_array_equal(values, [61.2, NAN, 63.0])
        assert [record['iter'] for record in run.train] == [10, 20, 30, 40, 50, 60]

    def test_resumed_training_replaces_from_its_first_epoch(self, tmp_path):
        # Written in the wrong order: the names of the folders, not their age, tell the time.
        write_log(tmp_path, by_epoch([31, 41], first=3), time='20240102_000000')
        write_log(tmp_path, by_epoch([10, 20, 30, 40, 50]), time='20240101_000000')
        run = read_run(tmp_path)
        epochs, values = run.curve('accuracy/top1')
        np.testing.assert_array_equal(epochs, [1, 2, 3, 4])
        np.testing.assert_array_equal(values, [10, 20, 31, 41])
        assert [record['epoch'] for record in run.train] == [1, 1, 2, 2, 3, 3, 4, 4]

    def test_resumed_training_replaces_before_its_first_validation(self, tmp_path):
        write_log(tmp_path, by_epoch([10, 20, 30, 40]), time='20240101_000000')
        write_log(tmp_path, [train_line(3, 50)], time='20240102_000000')
        np.testing.assert_array_equal(read_run(tmp_path).curve('accuracy/top1')[0], [1, 2])

    def test_resumed_training_replaces_the_validation_of_the_step_it_resumed_from(self, tmp_path):
        write_log(tmp_path, by_epoch([10, 20, 30]), time='20240101_000000')
        write_log(tmp_path, [val_line(2, 21), *by_epoch([31], first=3)], time='20240102_000000')
        write_log(tmp_path, [val_line(3, 32)], time='20240103_000000')  # nothing was left to train
        run = read_run(tmp_path)
        assert [(record['step'], record['accuracy/top1']) for record in run.val] == [(1, 10), (2, 21), (3, 32)]
        assert [record['epoch'] for record in run.train] == [1, 1, 2, 2, 3, 3]
        write_log(tmp_path, [val_line(1, 12)], time='20240104_000000')  # from an earlier step, and killed then
        run = read_run(tmp_path)
        assert [record['step'] for record in run.val] == [1] and [record['epoch'] for record in run.train] == [1, 1]

    def test_validation_by_itself_is_no_point(self, tmp_path):
        write_log(tmp_path, by_epoch([10, 20]), time='20240101_000000')
        write_log(tmp_path, [val_line(0, 99)], time='20240102_000000')
        np.testing.assert_array_equal(read_run(tmp_path).curve('accuracy/top1')[1], [10, 20])

    def test_cut_off_last_line_is_left_out_with_a_warning(self, tmp_path):
        write_log(tmp_path, by_epoch([10, 20]), tail='{"accuracy/top1": 3')
        with pytest.warns(UserWarning, match='last line .* cut off'):
            run = read_run(tmp_path)
        np.testing.assert_array_equal(run.curve('accuracy/top1')[1], [10, 20])

    def test_damaged_line_inside_is_an_error(self, tmp_path):
        write_log(tmp_path, [], tail='{"accuracy/\n' + json.dumps(val_line(1, 10)) + '\n')
        with pytest.raises(ValueError, match='Line 1 of .*scalars.json'):
            read_run(tmp_path)

    @pytest.mark.parametrize('log_metric_by_epoch', [False, True])
    @pytest.mark.parametrize('epoch', [{}, {'epoch': 1}])
    def test_by_iteration(self, tmp_path, epoch, log_metric_by_epoch):
        def lines(iterations):
            for iteration in iterations:
                yield {'loss': 1.0, 'iter': iteration, 'step': iteration, **epoch}
                if iteration % 100 == 0:
                    yield val_line(0 if log_metric_by_epoch else iteration, iteration / 10)

        write_log(tmp_path, lines(range(50, 301, 50)), time='20240101_000000')
        write_log(tmp_path, lines(range(250, 401, 50)), time='20240102_000000')
        run = read_run(tmp_path)
        assert run.unit == 'iteration'
        np.testing.assert_array_equal(run.curve('accuracy/top1')[0], [100, 200, 300, 400])
        np.testing.assert_array_equal(run.curve('accuracy/top1')[1], [10, 20, 30, 40])
        assert [record['iter'] for record in run.train] == list(range(50, 401, 50))

    def test_unknown_metric_lists_those_there_are(self, tmp_path):
        metrics = {'coco/bbox_mAP': 0.1, 'coco/segm_mAP': 0.2}
        run = read_run(write_log(tmp_path, [train_line(1, 10), {**metrics, 'time': 0.1, 'step': 1}]))
        with pytest.raises(ValueError, match="'accuracy/top1': choose one of coco/bbox_mAP, coco/segm_mAP"):
            run.curve('accuracy/top1')

    def test_no_log(self, tmp_path):
        with pytest.raises(ValueError, match=f"'{tmp_path}' holds no log .* give the work_dir"):
            read_run(tmp_path)

    @pytest.mark.parametrize('lines', [
        [], [train_line(1, 10)], [val_line(0, 50)], [{'loss': 1.0, 'iter': 10, 'step': 10}]])
    def test_no_validation(self, tmp_path, lines):
        write_log(tmp_path, lines)
        with pytest.raises(ValueError, match=f"'{tmp_path}' holds no validation .* wait for the first"):
            read_run(tmp_path)


class TestReadRuns:

    def test_labels(self, tmp_path):
        folders = [write_log(tmp_path / name / 'train', by_epoch([1])) for name in 'ab']
        assert [run.name for run in read_runs(folders, ['A', 'B'])] == ['A', 'B']
        with pytest.raises(ValueError, match="called 'train'"):
            read_runs(folders)
        with pytest.raises(ValueError, match='1 labels for 2 runs'):
            read_runs(folders, ['A'])

    def test_epochs_and_iterations_do_not_mix(self, tmp_path):
        epochs = write_log(tmp_path / 'a', by_epoch([1]))
        iterations = write_log(tmp_path / 'b', [{'iter': 50, 'step': 50}, val_line(50, 1)])
        with pytest.raises(ValueError, match="'a' by epoch, 'b' by iteration"):
            read_runs([epochs, iterations])


@pytest.mark.parametrize('target, epoch', [(9.0, 2), (30.0, 6), (30.1, None)])
def test_matching_epoch(target, epoch):
    curve = np.array([2, 4, 6, 8]), np.array([10.0, NAN, 30.0, 20.0])
    assert matching_epoch(curve, target) == epoch


class TestTable:

    def test_text(self, runs):
        """Matched is the final value of the reference, 70.10, not its best."""
        assert convergence_table(runs).splitlines() == [
            '| run      | epochs |  best | final | matching epoch |',
            '| -------- | -----: | ----: | ----: | -------------: |',
            '| gap      |      6 | 70.47 | 70.10 |            N/A |',
            '| gcp      |      4 | 74.86 | 74.86 |         3 (↓3) |',
            '| gap_fast |      3 | 67.50 | 67.50 |    not reached |',
        ]

    def test_reference(self, runs):
        matching = [line.split('|')[5].strip() for line in convergence_table(runs, reference='gap_fast').splitlines()]
        assert matching[2:] == ['5 (↑2)', '3 (±0)', 'N/A']
        with pytest.raises(ValueError, match="called 'x': choose the reference from 'gap', 'gcp', 'gap_fast'"):
            convergence_table(runs, 'accuracy/top1', reference='x')

    def test_nothing_but_nan(self, runs, tmp_path):
        lost = read_run(write_log(tmp_path / 'lost', by_epoch([NAN, NAN])))
        assert convergence_table([runs[0], lost]).splitlines()[3].split() == (
            '| lost | 2 | nan | nan | not reached |'.split())
        with pytest.raises(ValueError, match="reference 'lost' ends with NaN"):
            convergence_table([lost, runs[0]])


class TestFigure:

    def test_lines(self, runs):
        ax = Figure().add_subplot()
        draw_convergence(ax, runs, 'accuracy/top1')
        lines = {line.get_label(): line for line in ax.get_lines()}
        for run in runs:
            epochs, values = run.curve('accuracy/top1')
            np.testing.assert_array_equal(lines[run.name].get_xdata(), epochs)
            np.testing.assert_array_equal(lines[run.name].get_ydata(), values)
        assert set(lines['final of gap: 70.10'].get_ydata()) == {70.1}
        assert (ax.get_xlabel(), ax.get_ylabel()) == ('Epoch', 'Top-1 accuracy (%)')

    def test_marks_of_matching_epochs(self, runs):
        ax = Figure().add_subplot()
        draw_convergence(ax, runs, 'accuracy/top1')
        marks = [(text.get_text(), text.xy) for text in ax.texts if text.get_text().isdigit()]
        assert marks == [('3', (3, 71.0))]

    def test_curves_differ_in_colour_and_in_grey(self, tmp_path, runs, monkeypatch):
        # The figure as it is styled, caught when it is saved.
        figures = []
        monkeypatch.setattr('mmgcp.analysis.convergence.save_figure', lambda figure, *_: figures.append(figure))
        plot_convergence_panels({'ResNet-18': runs}, 'accuracy/top1', tmp_path / 'figure.png')
        ax, = figures[0].axes
        lines = [line for line in ax.get_lines() if line.get_label() in {run.name for run in runs}]
        for look in ('get_color', 'get_linestyle', 'get_marker'):
            assert len({getattr(line, look)() for line in lines}) == len(runs)
        assert ax.get_title() == 'ResNet-18'
        # Lines are labelled at their ends, with no legend.
        assert not figures[0].legends and not ax.get_legend()
        ends = {text.get_text(): (text.xy, text.get_color()) for text in ax.texts if hasattr(text, 'xy')}
        assert all(ends[line.get_label()] == ((line.get_xdata()[-1], line.get_ydata()[-1]), line.get_color())
                   for line in lines)

    def test_files(self, runs, tmp_path):
        paths = plot_convergence_panels({'': runs}, 'accuracy/top1', tmp_path / 'new' / 'figure.png',
                                        formats=['pdf', 'svg'])
        assert [path.name for path in paths] == ['figure.png', 'figure.pdf', 'figure.svg']
        for path, start in zip(paths, [b'\x89PNG', b'%PDF', b'<?xml'], strict=True):
            assert path.read_bytes().startswith(start) and path.stat().st_size > 5000

    def test_a_single_validation_is_visible(self, tmp_path):
        ax = Figure().add_subplot()
        draw_convergence(ax, [read_run(write_log(tmp_path, by_epoch([30.0])))])
        assert ax.get_lines()[0].get_markevery() == (0, 1)

    def test_out_must_be_png(self, runs, tmp_path):
        with pytest.raises(ValueError, match='must end in .png'):
            plot_convergence_panels({'': runs}, 'accuracy/top1', tmp_path / 'figure.jpg')


class TestPanels:

    @pytest.fixture
    def folders(self, tmp_path):
        """Two networks: one trained with both poolings, the other's GCP not validated yet, its GAP cut off."""
        return {
            'ResNet-18': [write_log(tmp_path / 'r18_gap', by_epoch([30, 60, 70])),
                          write_log(tmp_path / 'r18_gcp', by_epoch([50, 72]))],
            'ResNet-50': [write_log(tmp_path / 'r50_gap', [*by_epoch([40, 65]), train_line(3, 50)]),
                          write_log(tmp_path / 'r50_gcp', [train_line(1, 10)]),
                          write_log(tmp_path / 'r50_fast', by_epoch([66]))],
        }

    def test_what_is_there_is_read_and_the_rest_is_said(self, folders):
        with pytest.warns(UserWarning) as warned:
            runs = read_validated_runs(folders['ResNet-50'], ['GAP', 'GCP', 'fast'])
        assert [run.name for run in runs] == ['GAP', 'fast']
        first, second = (str(warning.message) for warning in warned)
        assert first.endswith("r50_gcp' has not been validated yet and was left out.")
        assert second == "'GAP' was trained up to epoch 3, but its last validation is that of epoch 2."

    def test_the_reference_must_be_there(self, folders, tmp_path):
        gap, gcp, fast = folders['ResNet-50']
        with pytest.raises(ValueError, match="r50_gcp' holds no validation"):
            read_validated_runs([gcp, gap])
        with pytest.raises(ValueError, match="r50_gcp' holds no validation"):
            read_validated_runs([gcp], reference='x')
        with pytest.raises(ValueError, match="missing' holds no log"):
            read_validated_runs([gap, tmp_path / 'missing'])
        with pytest.raises(ValueError, match='4 labels for 3 runs'):
            read_validated_runs([gap, gcp, fast], ['a', 'b', 'c', 'd'])

    def test_a_name_looks_the_same_in_all_panels(self, folders, tmp_path, monkeypatch):
        figures = []
        monkeypatch.setattr('mmgcp.analysis.convergence.save_figure', lambda figure, *_: figures.append(figure))
        panels = {'ResNet-18': read_runs(folders['ResNet-18'], ['GAP', 'GCP'])}
        panels['ResNet-50'] = read_runs([*folders['ResNet-50'][:1], folders['ResNet-50'][2]], ['GAP', 'fast'])
        panels['again'] = list(reversed(panels['ResNet-18']))
        plot_convergence_panels(panels, 'accuracy/top1', tmp_path / 'figure.png')
        figure, = figures
        assert [ax.get_title() for ax in figure.axes] == list(panels)
        looks = {}
        for ax in figure.axes:
            for line in ax.get_lines():
                if line.get_label() in ('GAP', 'GCP', 'fast'):
                    look = line.get_color(), line.get_linestyle(), line.get_marker()
                    assert looks.setdefault(line.get_label(), look) == look
        assert len(set(looks.values())) == 3
        # Marks of the matching epochs are those of each panel.
        marks = [[text.get_text() for text in ax.texts if text.get_text().isdigit()] for ax in figure.axes]
        assert marks == [['2'], ['1'], []]

    def test_curves_alone(self, runs):
        ax = Figure().add_subplot()
        lines = draw_curves(ax, runs)
        assert [line.get_label() for line in lines] == [run.name for run in runs] and ax.get_lines() == lines

    def test_names_that_begin_with_an_underscore_are_in_the_legend(self, runs):
        ax = Figure().add_subplot()
        draw_curves(ax, [replace(runs[0], name='_old')])
        assert ax.get_legend_handles_labels()[1] == ['\u200b_old']


class TestTool:

    @staticmethod
    def call(*args):
        return subprocess.run([sys.executable, TOOL, *args], env={**os.environ, 'PYTHONPATH': str(REPO)},
                              capture_output=True, text=True)

    def test_table_and_figure(self, tmp_path):
        gap = write_log(tmp_path / 'gap', by_epoch([0.2, 0.3, 0.366]))
        gcp = write_log(tmp_path / 'gcp', by_epoch([0.3, 0.374]), tail='{"acc')
        out = tmp_path / 'figure.png'
        done = self.call(gap, gcp, '--labels', 'GAP', 'GCP', '--metric', 'accuracy/top1', '--out', out,
                         '--formats', 'svg', '--title', 'A title')
        assert done.returncode == 0, done.stderr
        assert '| GCP |      2 | 0.374 | 0.374 |         2 (↓1) |' in done.stdout
        assert done.stderr.startswith('Warning: The last line') and done.stderr.count('\n') == 1
        assert out.exists() and out.with_suffix('.svg').exists() and not out.with_suffix('.pdf').exists()

    def test_panels(self, tmp_path):
        gap, gcp = write_log(tmp_path / 'gap', by_epoch([50, 60])), write_log(tmp_path / 'gcp', by_epoch([61]))
        late = write_log(tmp_path / 'late', [train_line(1, 10)])
        out = tmp_path / 'figure.png'
        done = self.call('--panel', 'ResNet-18', gap, gcp, '--panel', 'ResNet-50', gap, late, '--labels', 'GAP', 'GCP',
                         '--out', out)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [
            'ResNet-18',
            '| run | epochs |  best | final | matching epoch |',
            '| --- | -----: | ----: | ----: | -------------: |',
            '| GAP |      2 | 60.00 | 60.00 |            N/A |',
            '| GCP |      1 | 61.00 | 61.00 |         1 (↓1) |',
            '',
            'ResNet-50',
            '| run | epochs |  best | final | matching epoch |',
            '| --- | -----: | ----: | ----: | -------------: |',
            '| GAP |      2 | 60.00 | 60.00 |            N/A |',
            '',
            f"Figure: {out} {out.with_suffix('.pdf')}",
        ]
        assert done.stderr == f"Warning: '{late}' has not been validated yet and was left out.\n"

    def test_error_is_one_line(self, tmp_path):
        done = self.call(tmp_path / 'missing', '--out', tmp_path / 'figure.png')
        assert done.returncode == 1
        assert 'missing' in done.stderr and len(done.stderr.strip().splitlines()) == 1 and not done.stdout
        assert not (tmp_path / 'figure.png').exists()
