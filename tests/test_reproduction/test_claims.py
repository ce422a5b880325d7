import math
from dataclasses import replace

import numpy as np
import pytest

from mmgcp.experiments import Measurement
from mmgcp.robustness.outcomes import pack_errors
from reproduction.claims import findings
from reproduction.measured import Measured
from reproduction.paper_plan import PaperTraining, Variant
from reproduction.verdict import FEW, HOLDS, MISSING, OPEN, UNSAMPLED

from ..test_experiments.conftest import CONFIG, ENVIRONMENT, write
from .conftest import small_plan, training


@pytest.fixture
def found(plan, results):
    return {(finding.claim, finding.compared): finding for some in findings(Measured(plan, results)).values()
            for finding in some}


def test_accuracies(found):
    claim = 'GCP under LR_adju is more accurate than GAP under LR_norm, after half the epochs'
    finding = found[claim, 'ResNet-18: GCP_M LR_adju, GAP LR_norm']
    assert finding.outcome.text == '76.0 and 71.0 %' and finding.verdict == HOLDS and finding.p < 0.05
    error = 1.95996 * math.sqrt(76 * 24 + 71 * 29) / 100  # by the photos; all seeds differ alike
    assert finding.outcome.effect == f'+5.0 points [+{5 - error:.1f}, +{5 + error:.1f}]'
    finding = found['GCP is more accurate than GAP under the same rates', 'ResNet-18: GCP_M and GAP, LR_adju']
    assert finding.outcome.effect.startswith('+17.0 points') and finding.verdict == HOLDS
    finding = found[claim, 'ResNet-18: GCP w/o DS LR_adju, GAP LR_norm']
    assert (finding.verdict, finding.outcome.effect, finding.outcome.text) == (MISSING, '', '')


def outcomes(results, wrong, prefix='', seeds=(0, 1)):
    """Which of 100 photos each training misclassifies, with these seeds."""
    for name, errors in wrong.items():
        packed = pack_errors([f'{prefix}{i:02}.jpg' for i in range(100)], np.isin(np.arange(100), errors).tolist())
        for seed in seeds:
            write(results / f'small/{name}/seed_{seed}_outcomes.jsonl', dict(environment=ENVIRONMENT, measured={}),
                  [{'set': 'clean', 'metrics': {}, 'items': 100, 'outcomes': packed}])


def test_outcomes_by_photo_give_the_error_by_the_photos(results):
    """The networks differ on 5 photos of 100, and err together on 20."""
    outcomes(results, {'resnet18_gap_lr-norm': range(25), 'resnet18_gcp_m_lr-adju': range(20)})
    outcomes(results, {'resnet18_gap_lr-norm': range(25)}, seeds=(2, ))  # one training may be known with more seeds
    by_photo = [1.] * 5 + [0.] * 95 + [1., -1.]  # and two photos more
    error = 1.98422 * 100 * np.std(by_photo, ddof=1) / 102 ** 0.5  # t quantile of 99 degrees of freedom
    plan = small_plan(measurements=[Measurement('outcomes', 'test_robustness.py', ('{config}', ), 'robustness/*.json',
                                                ('resnet18_gap_lr-norm', 'resnet18_gcp_m_lr-adju'))])
    for subject in ('accuracy', 'convergence'):
        finding = findings(Measured(plan, results))[subject][0]
        assert finding.compared == 'ResNet-18: GCP_M LR_adju, GAP LR_norm'
        assert finding.outcome.effect == f'+5.0 points [{5 - error:+.1f}, {5 + error:+.1f}]'
    same_rates = findings(Measured(plan, results))['accuracy'][4].outcome  # of GAP under LR_adju nothing is known
    assert same_rates.estimate.high - same_rates.estimate.mean == pytest.approx(
        1.96 * 100 * math.sqrt((0.76 * 0.24 + 0.59 * 0.41) / 10000), rel=1e-3)


def test_differences_of_differences_have_their_error_by_photo(results):
    """What one photo loses by faster decay may be made up for by another."""
    wrong = {'resnet18_gap_lr-norm': range(10), 'resnet18_gap_lr-adju': range(30),
             'resnet18_gcp_m_lr-norm': range(5, 10), 'resnet18_gcp_m_lr-adju': range(12)}
    outcomes(results, wrong)
    for seed in (0, 1, 2):
        write(results / f'small/resnet18_gcp_m_lr-norm/seed_{seed}.jsonl', dict(environment=ENVIRONMENT),
              [{'step': 4, 'accuracy/top1': 80. + seed, 'accuracy/top5': 95.}])
    plan = small_plan()
    plan = replace(plan, trainings=[*plan.trainings, training(('gcp_m', 'norm'))], measurements=[
        Measurement('outcomes', 'test_robustness.py', ('{config}', ), 'robustness/*.json', tuple(wrong))])
    finding = findings(Measured(plan, results))['schedules'][0]
    assert finding.compared == 'ResNet-18: GAP and GCP_M, LR_norm to LR_adju'
    by_photo = [-1] * 5 + [0] * 7 + [1] * 18 + [0] * 70  # what GAP loses there, less what GCP_M does
    error = 1.98422 * 100 * np.std([*by_photo, 1, -1], ddof=1) / 102 ** 0.5
    assert finding.outcome.effect == f'+7.0 points [{7 - error:+.1f}, {7 + error:+.1f}]'


def test_equal_outcomes_leave_an_error_by_the_photos(results):
    """Two photos more keep it: 1.4 points with 100 photos, not 0."""
    outcomes(results, {'resnet18_gap_lr-norm': range(25), 'resnet18_gcp_m_lr-adju': range(25)})
    plan = small_plan(measurements=[Measurement('outcomes', 'test_robustness.py', ('{config}', ), 'robustness/*.json',
                                                ('resnet18_gap_lr-norm', 'resnet18_gcp_m_lr-adju'))])
    effect = findings(Measured(plan, results))['accuracy'][0].outcome.estimate
    assert effect.high - effect.mean == pytest.approx(1.98422 * 100 * math.sqrt(2 / 101 / 102), rel=1e-3)


def test_outcomes_count_by_either_name(results):
    wrong = {'resnet18_gap_lr-norm': range(25), 'resnet18_gcp_m_lr-adju': range(20)}
    outcomes(results, wrong)
    settings = 'test_robustness.py', ('{config}', ), 'robustness/*.json'
    found = []
    for names in (('outcomes', 'outcomes'), ('outcomes', 'outcomes_classifier')):
        both = {name: tuple(one for one, its in zip(wrong, names, strict=True) if its == name) for name in names}
        plan = small_plan(measurements=[Measurement(name, *settings, of) for name, of in both.items()])
        found.append(findings(Measured(plan, results))['accuracy'][0].outcome)
        for path in results.glob('small/resnet18_gcp_m_lr-adju/*_outcomes.jsonl'):
            path.rename(path.with_name(path.name.replace('outcomes', 'outcomes_classifier')))
    assert found[0] == found[1] and found[0].estimate.seeds


def test_seeds_with_outcomes_may_be_in_several_measurements(results):
    """Each photo counts with its mean over all of them."""
    names = ('resnet18_gap_lr-norm', 'resnet18_gcp_m_lr-adju')
    outcomes(results, {names[0]: range(25), names[1]: range(20)}, seeds=(0, ))
    outcomes(results, {names[0]: range(25), names[1]: range(10, 30)}, seeds=(1, ))
    for name in names:
        path = results / f'small/{name}/seed_1_outcomes.jsonl'
        path.rename(path.with_name('seed_1_outcomes_more.jsonl'))
    plan = small_plan(measurements=[Measurement(name, 'test_robustness.py', ('{config}', ), f'{name}/*.json', names)
                                    for name in ('outcomes', 'outcomes_more')])
    effect = findings(Measured(plan, results))['accuracy'][0].outcome.estimate
    by_photo = [0.5] * 10 + [0.] * 10 + [0.5] * 5 + [-0.5] * 5 + [0.] * 70 + [1., -1.]
    assert effect.high - effect.mean == pytest.approx(1.98422 * 100 * np.std(by_photo, ddof=1) / 102 ** 0.5, rel=1e-5)


def test_a_further_seed_of_one_training_changes_no_convergence(results):
    wrong = {'resnet18_gap_lr-norm': range(25), 'resnet18_gcp_m_lr-adju': range(20)}
    outcomes(results, wrong)
    measurement = Measurement('outcomes', 'test_robustness.py', ('{config}', ), 'robustness/*.json', tuple(wrong))
    plan = small_plan(seeds=(0, 1, 2, 3), measurements=[measurement])
    (results / 'small/resnet18_gap_lr-norm/seed_2.jsonl').unlink()  # GCP_M has it
    found = findings(Measured(plan, results))
    convergence, accuracy = (found[subject][0].outcome.estimate for subject in ('convergence', 'accuracy'))
    assert convergence == accuracy._replace(below=math.nan) and accuracy.seeds == 2  # only accuracies have a margin


def test_outcomes_of_other_photos_or_one_training_do_not_count(results):
    plan = small_plan(measurements=[Measurement('outcomes', 'test_robustness.py', ('{config}', ), 'robustness/*.json',
                                                ('resnet18_gap_lr-norm', 'resnet18_gcp_m_lr-adju'))])
    bound = findings(Measured(plan, results))['accuracy'][0].outcome
    outcomes(results, {'resnet18_gap_lr-norm': range(25)}, seeds=(0, ))
    assert findings(Measured(plan, results))['accuracy'][0].outcome == bound
    outcomes(results, {'resnet18_gcp_m_lr-adju': range(20)}, 'other', seeds=(0, ))
    assert findings(Measured(plan, results))['accuracy'][0].outcome == bound


def test_outcomes_of_the_last_epoch_do_not_count_for_an_earlier_one(results):
    """GCP_M is compared after epoch 3 of 5, as GAP has 4: the photos that it gets wrong at the end are others."""
    wrong = {'resnet18_gap_lr-norm': range(25), 'resnet18_gcp_m_lr-fast': range(20)}
    outcomes(results, wrong)
    for seed in (0, 1, 2):
        write(results / f'small/resnet18_gcp_m_lr-fast/seed_{seed}.jsonl', dict(environment=ENVIRONMENT),
              [{'step': epoch, 'accuracy/top1': 70. + 2 * epoch + seed} for epoch in range(1, 6)])
    plan = small_plan()
    plan = replace(plan, trainings=[*plan.trainings, training(('gcp_m', 'fast'))], measurements=[
        Measurement('outcomes', 'test_robustness.py', ('{config}', ), 'robustness/*.json', tuple(wrong))])
    finding = findings(Measured(plan, results))['convergence'][1]
    assert finding.compared == 'ResNet-18: GCP_M LR_fast, GAP LR_norm'
    bound = 1.95996 * math.sqrt(77 * 23 + 71 * 29) / 100
    assert finding.outcome.effect == f'+6.0 points [{6 - bound:+.1f}, {6 + bound:+.1f}]'


def test_few_test_images_leave_accuracies_open(results):
    """Of 50 photos each accuracy has a standard error of 6 points."""
    found = findings(Measured(small_plan(test_images=50), results))['accuracy']
    assert found[0].verdict == OPEN and found[0].outcome.estimate.low < -10


def test_two_seeds_are_too_few(results):
    found = findings(Measured(small_plan(seeds=(0, 1)), results))['accuracy']
    assert found[0].verdict == FEW and found[0].outcome.estimate.seeds == 2 and math.isnan(found[0].p)


def test_matching_epoch(found):
    """Judged by the accuracy before the last epoch of the other training."""
    finding = found['GCP under LR_adju reaches the final accuracy of GAP under LR_norm in fewer epochs',
                    'ResNet-18: GCP_M LR_adju, GAP LR_norm']
    assert finding.outcome.text == 'reached by 3 of 3 seeds, in epoch 2 of 4'
    assert finding.outcome.effect.startswith('+5.0 points') and finding.verdict == HOLDS
    assert finding.paper == 'epoch 32 of 100'


def test_matching_epochs_that_differ_and_a_seed_that_reaches_none(results):
    for seed, top_1 in ((1, (80., 76.)), (2, (50., 60.))):
        write(results / f'small/resnet18_gcp_m_lr-adju/seed_{seed}.jsonl', dict(
            environment=ENVIRONMENT, seconds=1, command=''), [
                {'step': step, 'accuracy/top1': value, 'accuracy/top5': 95.} for step, value in enumerate(top_1, 1)])
    finding, _ = findings(Measured(small_plan(), results))['convergence']
    assert finding.outcome.text == 'reached by 2 of 3 seeds, in epoch 1 to 2 of 4'


def robust(results, seed, gain, outcomes=True):
    """Clean photos and one corruption at two severities, which costs 20 of 100 photos; GCP_M gains on all."""
    right = {'gap': [], 'gcp_m': []}
    for name, better in (('gap', 0), ('gcp_m', gain)):
        rng = np.random.default_rng(0)  # the same photos for all seeds
        records = []
        for kind, errors in (('clean', 40), ('fog/1', 60), ('fog/2', 60)):
            order = rng.permutation(100)
            wrong = np.isin(np.arange(100), order[:errors - better])
            packed = dict(outcomes=pack_errors([f'{i:02}.jpg' for i in range(100)], wrong.tolist())) if outcomes else {}
            right[name].append(~wrong)
            records.append({'set': kind, 'metrics': {'accuracy/top1': 100. - wrong.sum()}, 'items': 100, **packed})
        write(results / f'small/resnet18_{name}_lr-adju/seed_{seed}_robustness_c.jsonl',
              dict(environment=ENVIRONMENT, measured={}), records)
    return np.mean(right['gcp_m'][1:], axis=0) - np.mean(right['gap'][1:], axis=0)  # by photo, on the corruption


def test_robustness_counts_the_spread_over_photos(results):
    """On 100 photos, 10 fewer errors of everything are clear, one fewer is not."""
    claim, compared = 'GCP errs less on corrupted photos', 'ResNet-18: GAP LR_adju, GCP_M LR_adju'
    for gain, word in ((10, HOLDS), (1, OPEN)):
        by_photo = np.mean([robust(results, seed, gain) for seed in (0, 1, 2)], axis=0)
        found = {(finding.claim, finding.compared): finding
                 for finding in findings(Measured(small_plan(), results))['robustness']}
        finding = found[claim, compared]
        assert finding.verdict == word
        assert finding.outcome.estimate.high - gain == pytest.approx(
            1.98422 * 100 * np.std(by_photo, ddof=1) / 10, rel=1e-3)  # all seeds gain alike
        assert finding.outcome.text == f'mean error 60, {60 - gain} (100 photos, 2 of 75 sets)'
        assert found['GCP loses less by corruptions', compared].verdict == OPEN  # clean photos gain as much
    assert found['GCP changes its answer less along sequences', compared].verdict == MISSING


def test_robustness_of_seeds_that_only_one_network_has_does_not_count(results):
    for seed in (0, 1):
        robust(results, seed, gain=10)
    expected = findings(Measured(small_plan(seeds=(0, 1)), results))['robustness'][1].outcome
    robust(results, 2, gain=30)
    (results / 'small/resnet18_gap_lr-adju/seed_2_robustness_c.jsonl').unlink()  # GCP_M errs on fewer photos there
    assert findings(Measured(small_plan(), results))['robustness'][1].outcome == expected
    assert expected.estimate.seeds == 2


def test_one_corruption_alone_proves_nothing(results):
    """Its spread over corruptions is 0: this once made a standard error of 0, and with two seeds 'holds'."""
    for seed in (0, 1, 2):
        robust(results, seed, gain=10, outcomes=False)
    found = [finding for finding in findings(Measured(small_plan(), results))['robustness'] if finding.outcome.text]
    assert found and {finding.verdict for finding in found} == {UNSAMPLED}


FIG_2 = dict(trainings=[training(('gap', 'norm')), training(('gcp', 'norm'))], measurements=[])


def landscapes(results, name, high, at='stem', steps=(0.1, 75)):
    """Ranges of the loss by measurement, a little different for each seed; those of the gradient are all 0.5."""
    for seed in (0, 1, 2):
        records = [dict(iter=10 * i, loss=1., gradient_norm=1., losses=[1., 1. + value * (1 + 0.01 * seed * (i + 1))],
                        distances=[0.5, 1. + 0.01 * seed * name.count('a')], smoothness=[1., 2.], seconds=1)
                   for i, value in enumerate(high)]
        write(results / 'small' / name / f'seed_{seed}_landscape_{at}.jsonl', dict(
            environment=ENVIRONMENT, measured=dict(at=at, layer='x', direction='ascent', step_sizes=steps,
                                                   images=64)), records)


def test_landscape_is_compared_at_equal_iterations_after_the_first(results):
    """Untrained, GCP's range is 30 times as large, which would dominate the mean; from then on it is half of GAP's."""
    landscapes(results, 'resnet18_gap_lr-norm', (1., 0.2, 2., 0.4, 0.6))
    landscapes(results, 'resnet18_gcp_lr-norm', (30., 0.1, 1., 0.2, 0.301))
    loss, gradient, *others = findings(Measured(small_plan(**FIG_2), results))['landscape']
    assert loss.compared == 'ResNet-18: GCP w/o DS and GAP, LR_norm'
    assert loss.outcome.text == ("GAP's range over GCP w/o DS's: untrained 0.0333, first half 2, second half 2; "
                                 'steps 0.1 to 75 at batch 64')
    assert loss.outcome.estimate.mean == pytest.approx(math.log(2), rel=1e-2)
    assert gradient.outcome.effect.endswith(']') and gradient.verdict == OPEN
    assert {other.verdict for other in others} == {MISSING}


def test_landscapes_at_the_last_convolution_are_compared_with_both_gaps(results):
    for name, ranges in (('gap', (1., 4., 4.)), ('gcp', (1., 1., 1.)), ('gap_wo-ds', (1., 2., 2.))):
        landscapes(results, f'resnet18_{name}_lr-norm', ranges, at='last_conv')
    plan = small_plan(**FIG_2 | {'trainings': [*FIG_2['trainings'], training(('gap_wo-ds', 'norm'))]})
    stem, _, over_gap, _, control, _ = findings(Measured(plan, results))['landscape']
    assert stem.verdict == MISSING
    assert over_gap.claim == 'At the last convolution, the loss varies less along the gradient with GCP than with GAP'
    assert over_gap.compared == 'ResNet-18: GCP w/o DS and GAP, LR_norm'
    assert over_gap.outcome.estimate.mean == pytest.approx(math.log(4), rel=1e-2)
    assert control.source == 'our control' and control.compared == 'ResNet-18: GCP w/o DS and GAP w/o DS, LR_norm'
    assert control.outcome.estimate.mean == pytest.approx(math.log(2), rel=1e-2)


def test_halves_of_the_training_are_told_apart(results):
    landscapes(results, 'resnet18_gap_lr-norm', (1., 2., 2., 8., 8.))
    landscapes(results, 'resnet18_gcp_lr-norm', (1., 1., 1., 16., 16.))
    loss, *_ = findings(Measured(small_plan(**FIG_2), results))['landscape']
    assert 'untrained 1, first half 2, second half 0.5;' in loss.outcome.text


def test_landscapes_of_other_steps_are_not_compared(results):
    landscapes(results, 'resnet18_gap_lr-norm', (1., 2., 3.))
    landscapes(results, 'resnet18_gcp_lr-norm', (1., 2., 3.), steps=(0.025, 18.75))
    assert {finding.verdict for finding in findings(Measured(small_plan(**FIG_2), results))['landscape']} == {MISSING}


def test_claims_that_nothing_was_measured_for_are_listed(found):
    missing = {finding.claim for finding in found.values() if finding.verdict == MISSING}
    assert {'GCP under LR_fast matches K-FAC in fewer epochs',
            '128 reduced channels are less accurate than 256'} <= missing
    assert not [finding for finding in found.values() if finding.verdict == MISSING and finding.outcome.text]


def test_mobilenet_is_compared_by_the_one_covariance_pooling_that_it_has(results):
    """No claim twice, none about down-sampling, and what was not measured is listed for the first network alone."""
    other = PaperTraining(network='mobilenetv2', variant=Variant('gcp', 'adju'), config=CONFIG)
    plan = small_plan()
    both = findings(Measured(replace(plan, trainings=[*plan.trainings, other]), results))
    assert repr(both) == repr(findings(Measured(plan, results)))  # NaN is like NaN
    alone = findings(Measured(small_plan(trainings=[other], measurements=[]), results))
    compared = [finding.compared for some in alone.values() for finding in some]
    assert compared.count('MobileNetV2: GCP LR_adju, GAP LR_norm') == 2  # more accurate, and in fewer epochs
    assert not any('GCP_' in text or 'w/o DS' in text for text in compared)
