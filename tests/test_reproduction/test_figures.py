"""Figures of a plan, read back before they are written."""
from dataclasses import replace

from matplotlib.figure import Figure

from mmgcp.experiments import Measurement
from mmgcp.utils.logs import Run
from reproduction.figures import accuracy_by_rate, finals, make_figures, plot_curves, plot_finals, plot_rates
from reproduction.imagenette import CLASSIFIER_LR, LR
from reproduction.measured import Measured

from ..test_experiments.conftest import ENVIRONMENT, write
from .conftest import small_plan, training
from .test_smoothness import GAP, GCP, measured_curvature, measured_landscape


def test_figures_are_those_of_which_there_are_results(results, tmp_path, monkeypatch):
    saved = {}
    monkeypatch.setattr(Figure, 'savefig', lambda figure, path: saved.update({path.name: figure}))
    tuned = training(('gap', 'norm', 'classifier-lr-0.1'))
    write(results / f'small/{tuned.name}/seed_0.jsonl', dict(environment=ENVIRONMENT, seconds=1, command=''), [
        {'step': 4, 'accuracy/top1': 72., 'accuracy/top5': 95.}])
    for name in (GAP, GCP):
        measured_landscape(results, name, 0, [2.3, 2., 1.], lambda loss: 1., lambda loss: 1.)
    measured_curvature(results, GAP, 0, [2., 1., .5], 10.)
    plan = small_plan(trainings=[training(('gap', 'norm')), tuned, training(('gcp', 'norm'))],
                      measurements=[Measurement('curvature', 't.py', (), '*', (GAP, ))])
    make_figures(Measured(plan, results), tmp_path, 'small')
    assert list(saved) == [f'small_{name}.png' for name in (
        'classifier', 'accuracy', 'landscape', 'smoothness', 'ranges', 'curvature')]
    lines = saved['small_classifier.png'].axes[0].lines
    assert [line.get_label() for line in lines] == [
        'GAP, LR_norm', 'GAP, LR_norm, classifier lr 0.1', 'final of GAP, LR_norm']


def test_accuracy_by_rate(results):
    """Means over the seeds, in the order of the rates, by number of epochs; two rates are no curve."""
    trainings = [
        *(training((pooling, '', f'{epochs}-epochs-at-{lr:g}' + f'-classifier-lr-{factor:g}' * (factor != 1)),
                   seeds=(0, 1), options={LR: lr, **({CLASSIFIER_LR: factor} if factor != 1 else {})})
          for pooling, factor, epochs in (('gap', 1, 5), ('gap', 1, 20), ('gcp_m', 0.1, 5), ('gcp_d', 1, 5))
          for lr in ((0.02, 0.01, 0.04) if pooling != 'gcp_d' else (0.01, 0.02))),
        *(training(('gcp', '', f'{number}-epochs')) for number in (1, 2, 3))]  # with the rate of the plan
    for one in trainings:
        for seed in (0, 1):
            top_1 = 100 * one.options.get(LR, 0) + 10 * (CLASSIFIER_LR in one.options) + seed
            top_1 += 20 * one.variant.variation.startswith('20')
            write(results / f'small/{one.name}/seed_{seed}.jsonl', dict(environment=ENVIRONMENT, seconds=1, command=''),
                  [{'step': 4, 'accuracy/top1': top_1, 'accuracy/top5': 95.}])
    curves = accuracy_by_rate(Measured(small_plan(trainings=trainings, measurements=()), results))
    assert {key: list(values.items()) for key, values in curves.items()} == {
        ('ResNet-18, GAP, 5 epochs', 1): [(0.01, 1.5), (0.02, 2.5), (0.04, 4.5)],
        ('ResNet-18, GAP, 20 epochs', 1): [(0.01, 21.5), (0.02, 22.5), (0.04, 24.5)],
        ('ResNet-18, GCP_M, 5 epochs', 0.1): [(0.01, 11.5), (0.02, 12.5), (0.04, 14.5)]}


def test_figure_of_rates(tmp_path, drawn):
    """One colour per pooling, as in all figures, and one dash per rate of the classifier."""
    values = {0.001: 70., 0.002: 75., 0.004: 72.}
    assert plot_rates({(f'ResNet-18, {pooling}', factor): values for pooling in ('GAP', 'GCP_M')
                       for factor in (0.1, 1, 10)}, tmp_path / 'a.png') == [tmp_path / 'a.png']
    ax, = drawn[0].axes
    lines = {line.get_label(): line for line in ax.lines}
    assert list(lines) == [f'ResNet-18, {pooling}{ending}' for pooling in ('GAP', 'GCP_M') for ending in (
        ', classifier lr 0.1', '', ', classifier lr 10')]
    assert [line.get_linestyle() for line in lines.values()] == 2 * ['--', '-', '-.']
    assert len({line.get_color() for line in lines.values()}) == 2
    assert all(line.get_xydata().tolist() == [list(item) for item in values.items()] for line in lines.values())
    assert ax.get_xscale() == 'log'
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ['0.001', '0.002', '0.004']


def test_each_network_has_a_panel_of_rates(tmp_path, drawn):
    values = {0.001: 70., 0.002: 75., 0.004: 72.}
    plot_rates({(f'{network}, GAP', 1): values for network in ('ResNet-18', 'ResNet-50')}, tmp_path / 'a.png')
    assert [[line.get_label() for line in ax.lines] for ax in drawn[0].axes] == [['ResNet-18, GAP'], ['ResNet-50, GAP']]


def test_seeds_count_at_the_epochs_that_they_validated(tmp_path, drawn):
    runs = [Run('a', 'epoch', (), [{'step': step, 'accuracy/top1': value} for step, value in curve.items()])
            for curve in ({1: 10., 3: 30.}, {2: 24., 3: 40.})]
    plot_curves({'ResNet-18': {'GAP, LR_norm': runs}}, tmp_path / 'a.png', target='GAP, LR_norm')
    line, target = drawn[0].axes[0].lines
    assert line.get_xydata().tolist() == [[1, 10], [2, 24], [3, 35]]
    assert set(target.get_ydata()) == {35}
    band = drawn[0].axes[0].collections[0].get_paths()[0].vertices
    assert set(map(tuple, band.tolist())) == {(1, 10), (2, 24), (3, 30), (3, 40)}


def test_final_accuracies(results, tmp_path, drawn):
    """Every seed and the mean, a panel for each schedule and a row for each way to train; what is missing has none."""
    tuned = training(('gap', 'adju', 'classifier-lr-0.1'))
    for seed, top_1 in ((0, 72.), (2, 74.)):
        write(results / f'small/{tuned.name}/seed_{seed}.jsonl', dict(environment=ENVIRONMENT, seconds=1, command=''), [
            {'step': step, 'accuracy/top1': value, 'accuracy/top5': 95.} for step, value in ((1, 99.), (2, top_1))])
    plan = small_plan()
    found = finals(Measured(replace(plan, trainings=[*plan.trainings, tuned]), results))
    assert found == {
        'ResNet-18, 4 epochs (LR_norm)': {'GAP, one learning rate': [70., 71., 72.]},
        'ResNet-18, 2 epochs (LR_adju)': {'GAP, one learning rate': [58., 59., 60.],
                                          'GAP, a tenth of it in its classifier': [72., 74.],
                                          'GCP_M, one learning rate': [75., 76., 77.]}}
    plot_finals(found, tmp_path / 'a.png')
    norm, adju = drawn[0].axes
    assert [ax.get_title() for ax in (norm, adju)] == list(found)
    assert [tick.get_text() for tick in norm.get_yticklabels()] == list(found['ResNet-18, 2 epochs (LR_adju)'])
    assert [line.get_xydata().tolist() for line in norm.lines] == [[[70, 0], [71, 0], [72, 0]], [[71, 0]]]
    assert [line.get_xydata().tolist() for line in adju.lines[2:4]] == [[[72, 1], [74, 1]], [[73, 1]]]
    assert [text.get_text() for text in adju.texts] == ['59.0', '73.0', '76.0']
    assert len({line.get_color() for line in adju.lines}) == 3  # one for each way
