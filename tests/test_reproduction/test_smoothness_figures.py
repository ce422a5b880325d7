"""Figures of smoothness, read back before they are written."""
import numpy as np

from mmgcp.analysis.curvature import curvature_of
from reproduction.effects import Estimate
from reproduction.measured import Measured
from reproduction.smoothness import Ratio
from reproduction.smoothness_figures import (
    compared_landscapes,
    plot_curvatures,
    plot_ranges,
    plot_ratios,
    ranges_of,
)

from .test_smoothness import CONTROL, GAP, GCP, measured_landscape, plan


def test_the_figure_shows_one_seed_for_all_trainings(results):
    for name, seeds in ((GAP, (0, 1, 2)), (GCP, (2, 1)), (CONTROL, (2, ))):
        for seed in seeds:
            measured_landscape(results, name, seed, [2. + seed, 1.], lambda loss: 1., lambda loss: 1.)
    panel, = compared_landscapes(Measured(plan(), results)).values()
    assert [(log.name, log.loss[0]) for log in panel] == [
        ('GAP, LR_norm', 4.), ('GAP w/o DS, LR_norm', 4.), ('GCP w/o DS, LR_norm', 4.)]


def test_ranges_along_trainings(results, tmp_path, drawn):
    """Means over the seeds, a column for each place that was measured, in the looks of the other figures."""
    for name, places, factor in (
            (GAP, ('stem', 'weights'), 4.), (GCP, ('stem', 'weights'), 1.), (CONTROL, ('stem', ), 2.)):
        for at in places:
            for seed in (0, 2):
                measured_landscape(results, name, seed, [2., 1.], lambda _, rise=factor: rise, lambda _: 1., at)
    panels = ranges_of(Measured(plan(), results))
    plot_ranges(panels, tmp_path / 'a.png')
    axes = drawn[0].axes
    assert [ax.get_title() for ax in axes] == 2 * ['ResNet-18, stem', 'ResNet-18, weights']
    assert [ax.get_ylabel() for ax in axes] == ['Range of the loss', '', 'Range of the gradient', '']
    assert {ax.get_yscale() for ax in axes} == {'log'}
    assert [line.get_label() for line in axes[0].lines] == [
        'GAP, LR_norm', 'GAP w/o DS, LR_norm', 'GCP w/o DS, LR_norm']
    for ax, more in ((axes[0], 1), (axes[2], 2)):
        for line, factor in zip(ax.lines, (4, 2, 1), strict=True):  # the two seeds differ by 0.2 %
            np.testing.assert_allclose(line.get_xydata(), [[0, 100.1 * more * factor], [10, 1.001 * more * factor]])
    assert [text.get_text() for text in axes[1].texts] == ['GCP w/o DS, LR_norm', 'GAP, LR_norm']  # by height
    assert not axes[0].texts


def test_ranges_that_have_no_logarithm_are_left_out(results):
    measured_landscape(results, GAP, 0, [2., 1.], lambda loss: loss - 1, lambda _: 1.)
    measured_landscape(results, GCP, 0, [2., 1.], lambda _: 0., lambda _: 1.)
    panels = ranges_of(Measured(plan(), results))
    assert [list(trainings) for trainings in panels.values()] == 2 * [['GAP, LR_norm']]
    assert {tuple(one.steps) for trainings in panels.values() for one in trainings['GAP, LR_norm']} == {(0, )}


def test_ratios_and_their_intervals(tmp_path, drawn):
    estimates = [Estimate(*np.log(values), 0.01, 3) for values in ((0.5, 0.25, 1.), (2., 1.6, 2.5))]
    verdicts = ('smaller', 0.04), ('cannot be told', 0.06)
    plot_ratios([Ratio('ResNet-18', 'GAP', 'stem', 'range', 0., *estimates, verdicts)], tmp_path / 'a.png')
    ax, = drawn[0].axes
    points = {line.get_label(): line.get_xydata() for line in ax.lines[:4]}
    np.testing.assert_allclose(points['at equal iterations, significant'], [[0.5, -0.14]])
    np.testing.assert_allclose(points['at equal loss'], [[2, 0.14]])
    assert not len(points['at equal iterations']) and not len(points['at equal loss, significant'])
    assert [line.get_markerfacecolor() == line.get_color() for line in ax.lines[:4]] == [False, True, False, True]
    np.testing.assert_allclose([bars.get_segments()[0] for bars in ax.collections], [
        [[0.25, -0.14], [1, -0.14]], [[1.6, 0.14], [2.5, 0.14]]])
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == list(points)
    assert [text.get_text() for text in ax.get_yticklabels()] == ['stem: range']
    assert (ax.get_title(), ax.get_xlabel()) == ('ResNet-18, over GAP', 'GCP w/o DS over GAP')


def test_curvature_along_trainings(tmp_path, drawn):
    logs = [curvature_of(dict(eigenvalues=1), [
        dict(step=step, unit='epoch', loss=1., eigenvalues=[10. * step + seed], trace=100. * step + seed)
        for step in (3, 6)], '') for seed in (0, 2)]
    plot_curvatures({'ResNet-18': {'GAP, LR_norm': logs}}, tmp_path / 'a.png')
    eigenvalue, trace = drawn[0].axes
    assert eigenvalue.lines[0].get_xydata().tolist() == [[3, 31], [6, 61]]
    assert trace.lines[0].get_xydata().tolist() == [[3, 301], [6, 601]]
    assert eigenvalue.get_ylabel() == 'Largest eigenvalue of the Hessian' and trace.get_xlabel() == 'Epoch'
