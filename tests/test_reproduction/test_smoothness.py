"""Notions of smoothness: ratios at equal iterations and at equal loss, against values by hand."""
import json
import math

import numpy as np
import pytest

from mmgcp.experiments import Measurement
from reproduction.measured import Measured
from reproduction.result_tables import make_tables
from reproduction.smoothness import Course, at_equal_loss, at_equal_steps, ratios
from reproduction.smoothness_figures import plot_ratios

from ..test_experiments.conftest import ENVIRONMENT, write
from .conftest import small_plan, training

GAP, CONTROL, GCP = (f'resnet18_{pooling}_lr-norm' for pooling in ('gap', 'gap_wo-ds', 'gcp'))


def plan(**settings):
    return small_plan(
        **settings, trainings=[training((pooling, 'norm')) for pooling in ('gap', 'gap_wo-ds', 'gcp')],
        measurements=[Measurement('curvature', 't.py', (), '*', (GAP, GCP))])


def measured_landscape(results, name, seed, losses, range_of, length_of, at='stem'):
    """A landscape whose range of the loss and whose gradient are functions of the loss; untrained, a hundredfold."""
    records = []
    for i, loss in enumerate(losses):
        factor = 1 if i else 100
        rise = factor * range_of(loss) * (1 + 0.001 * seed)
        records.append(dict(iter=10 * i, loss=loss, gradient_norm=length_of(loss), losses=[loss, loss + rise],
                            distances=[0.1, 0.1 + 2 * rise], smoothness=[1., 2. * factor], seconds=1))
    write(results / 'small' / name / f'seed_{seed}_landscape_{at}.jsonl', dict(
        environment=ENVIRONMENT,
        measured=dict(at=at, layer='x', direction='ascent', step_sizes=[1, 2], images=64)), records)


def measured_curvature(results, name, seed, losses, eigenvalue, traces=(8., 8., 8.)):
    records = [dict(step=i + 1, unit='epoch', loss=loss, eigenvalues=[eigenvalue / loss], trace=trace)
               for i, (loss, trace) in enumerate(zip(losses, traces, strict=True))]
    write(results / 'small' / name / f'seed_{seed}_curvature.jsonl', dict(
        environment=ENVIRONMENT, measured=dict(eigenvalues=1)), records)


def test_a_network_that_only_learns_faster_differs_at_equal_iterations_alone(results):
    """Ranges grow with the square root of the loss; GCP has half the loss of GAP at each iteration."""
    for seed in (0, 1, 2):
        measured_landscape(results, GAP, seed, [2.3, 2., 1., .5], lambda loss: loss ** .5, lambda loss: loss)
        measured_landscape(results, GCP, seed, [2.3, 1., .5, .25], lambda loss: loss ** .5, lambda loss: loss)
    by_quantity = {ratio.quantity: ratio for ratio in ratios(Measured(plan(), results))}
    loss = by_quantity['range of the loss, Eq. 3']
    assert loss.untrained == pytest.approx(0) and loss.same_step.mean == pytest.approx(math.log(.5) / 2)
    assert loss.same_loss.mean == pytest.approx(0, abs=1e-8) and loss.same_step.seeds == 3
    over = by_quantity['range of the loss over the squared length']
    assert over.same_step.mean == pytest.approx(1.5 * math.log(2)) and over.same_loss.mean == pytest.approx(0, abs=1e-8)
    assert by_quantity['squared length of the gradient'].same_step.mean == pytest.approx(-2 * math.log(2))
    assert by_quantity['effective beta-smoothness'].same_step.mean == pytest.approx(0)


def test_verdicts_are_corrected_for_all_comparisons(results, tmp_path):
    rng = np.random.default_rng(0)
    for seed in range(5):
        for name, factor in ((GAP, 1.), (GCP, 0.1)):
            noise = 1 + 0.02 * rng.standard_normal()
            measured_landscape(results, name, seed, [2.3, 2., 1., .5], lambda _, rise=noise * factor: rise,
                               lambda _, length=noise: length)
    measured = Measured(plan(seeds=range(5)), results)
    found = ratios(measured)
    words = {ratio.quantity: ratio.verdicts for ratio in found}
    assert words['range of the loss, Eq. 3'][0][0] == words['range of the gradient, Eq. 4'][1][0] == 'smaller'
    assert words['squared length of the gradient'][0][0] == 'cannot be told'
    # Twelve comparisons: the smallest p-value counts twelve times.
    smallest = min(effect.p for ratio in found for effect in (ratio.same_step, ratio.same_loss))
    assert min(p for ratio in found for _, p in ratio.verdicts) == pytest.approx(12 * smallest)
    row = next(row for row in make_tables(measured)['smoothness'].rows if row[3] == 'range of the loss, Eq. 3')
    assert row[:5] == ['ResNet-18', 'GAP', 'stem', 'range of the loss, Eq. 3', '5']
    assert row[6] == '0.0997 [0.0982, 0.101]'
    assert plot_ratios(found, tmp_path / 'ratios.png')[0].stat().st_size > 10_000


def test_landscapes_of_other_steps_are_not_compared(results):
    for name in (GAP, GCP):
        measured_landscape(results, name, 0, [2.3, 2., 1.], lambda loss: 1., lambda loss: 1.)
    path = results / f'small/{GCP}/seed_0_landscape_stem.jsonl'
    path.write_text(path.read_text().replace('"step_sizes": [1, 2]', '"step_sizes": [1, 3]'))
    with pytest.raises(ValueError, match=f'landscapes at stem of {GCP} and {GAP} have different steps or batches'):
        ratios(Measured(plan(), results))


def test_a_control_has_a_map_as_large_as_that_of_gcp(results):
    """Gradients are half as long as on GAP's small map, for GCP as for GAP on the large one."""
    for name, length in ((GAP, 2.), (CONTROL, 1.), (GCP, 1.)):
        measured_landscape(results, name, 0, [2.3, 2., 1.], lambda loss: 1., lambda loss, it=length: it, at='last_conv')
    found = {ratio.over: ratio for ratio in ratios(Measured(plan(), results))
             if ratio.quantity == 'squared length of the gradient'}
    assert list(found) == ['GAP', 'GAP w/o DS']
    assert [math.exp(ratio.same_step.mean) for ratio in found.values()] == pytest.approx([0.25, 1.])


def test_two_seeds_are_too_few(results):
    for seed in (0, 1):
        for name in (GAP, GCP):
            measured_landscape(results, name, seed, [2.3, 2., 1.], lambda loss: 1., lambda loss: 1., at='last_conv')
    found = ratios(Measured(plan(), results))
    assert {word for ratio in found for word, _ in ratio.verdicts} == {'too few seeds'}
    assert {ratio.place for ratio in found} == {'last convolution'}


def test_curvature_counts_from_the_first_checkpoint_on(results):
    for seed in (0, 1, 2):
        measured_curvature(results, GAP, seed, [2., 1., .5], 10.)
        measured_curvature(results, GCP, seed, [1., .5, .25], 5.)
    largest, trace = ratios(Measured(plan(), results))
    assert math.isnan(largest.untrained) and largest.same_step.mean == pytest.approx(0, abs=1e-8)
    assert largest.same_loss.mean == pytest.approx(math.log(.5)) and trace.same_step.mean == pytest.approx(0)


def test_traces_of_both_signs_have_no_ratio(results):
    for seed in (0, 1, 2):
        measured_curvature(results, GAP, seed, [2., 1., .5], 10.)
        measured_curvature(results, GCP, seed, [2., 1., .5], 5., (-3., 8., 8.))
    largest, = ratios(Measured(plan(), results))
    assert largest.quantity == 'largest eigenvalue of the Hessian'
    assert largest.same_step.mean == pytest.approx(math.log(.5))


def test_losses_that_do_not_overlap_compare_nothing():
    early = Course(np.array([1, 2]), np.array([3., 2.]), np.array([1., 1.]))
    late = Course(np.array([1, 2]), np.array([1., .5]), np.array([1., np.inf]))
    assert len(at_equal_loss(early, late)) == 0
    steps, ratios = at_equal_steps(early, late)
    assert steps.tolist() == [1] and ratios.tolist() == [0]


def test_an_infinite_range_of_the_untrained_network_is_no_measurement(results):
    """The first finite one, of a trained network, does not take its place."""
    for seed in (0, 1, 2):
        for name, factor in ((GAP, 1.), (GCP, 2.)):
            measured_landscape(results, name, seed, [2.3, 2., 1.], lambda loss, rise=factor: rise, lambda loss: 1.)
            path = results / f'small/{name}/seed_{seed}_landscape_stem.jsonl'
            lines = path.read_text().splitlines()
            first = {**json.loads(lines[1]), 'losses': [float('inf')] * 2}
            path.write_text('\n'.join([lines[0], json.dumps(first), *lines[2:]]) + '\n')
    loss = next(ratio for ratio in ratios(Measured(plan(), results)) if ratio.quantity == 'range of the loss, Eq. 3')
    assert math.isnan(loss.untrained) and loss.same_step.mean == pytest.approx(math.log(2))


def test_what_overflows_at_a_step_size_is_no_measurement(results):
    """Without its largest values GAP's range would be smaller than that of GCP."""
    for seed in (0, 1, 2):
        for name, factor in ((GAP, 1.), (GCP, .5)):
            measured_landscape(results, name, seed, [2.3, 2., 1., .9], lambda loss, rise=factor: rise, lambda loss: 1.)
        path = results / f'small/{GAP}/seed_{seed}_landscape_stem.jsonl'
        head, *records = map(json.loads, path.read_text().splitlines())
        records[2] |= dict(losses=[1., 1.001], distances=[0.1, float('inf')])
        path.write_text('\n'.join(map(json.dumps, [head, *records])) + '\n')
    found = {ratio.quantity: ratio.same_step for ratio in ratios(Measured(plan(), results))}
    assert found['range of the loss, Eq. 3'].mean == found['range of the gradient, Eq. 4'].mean == pytest.approx(
        math.log(.5))


def test_losses_that_never_meet_are_told(results):
    for seed in (0, 1, 2):
        measured_landscape(results, GAP, seed, [2.3, 2., 1.], lambda loss: 1., lambda loss: 1.)
        measured_landscape(results, GCP, seed, [2.3, .5, .4], lambda loss: 1., lambda loss: 1.)
    assert {ratio.verdicts[1][0] for ratio in ratios(Measured(plan(), results))} == {'no equal losses'}


def test_both_numbers_of_seeds_are_told_where_losses_do_not_meet(results):
    for seed in (0, 1, 2):
        measured_landscape(results, GAP, seed, [2.3, 2., 1.], lambda loss: 1., lambda loss: 1.)
        losses = [2.3, 0.5, 0.4] if seed == 2 else [2.3, 2., 1.]
        measured_landscape(results, GCP, seed, losses, lambda loss: 1., lambda loss: 1.)
    rows = make_tables(Measured(plan(), results))['smoothness'].rows
    assert {row[4] for row in rows} == {'3, 2'}
