import math
from dataclasses import replace

import pytest

from reproduction.claims import findings
from reproduction.measured import Measured
from reproduction.trainings import PaperTraining, Variant
from reproduction.verdict import HOLDS, MISSING, OPEN

from ..test_experiments.conftest import CONFIG, ENVIRONMENT, write
from .conftest import small_plan


@pytest.fixture
def found(plan, results):
    return {(finding.claim, finding.compared): finding for some in findings(Measured(plan, results)).values()
            for finding in some}


def test_accuracies(found):
    claim = 'GCP under LR_adju is more accurate than GAP under LR_norm, after half the epochs'
    finding = found[claim, 'ResNet-18: GCP_M LR_adju, GAP LR_norm']
    assert finding.ours == '75.5 and 70.5 %, +5.0 points (standard error 0)' and finding.verdict == HOLDS
    finding = found['GCP is more accurate than GAP under the same rates', 'ResNet-18: GCP_M and GAP, LR_adju']
    assert finding.ours.startswith('75.5 and 58.5 %, +17.0 points') and finding.verdict == HOLDS
    assert found[claim, 'ResNet-18: GCP w/o DS LR_adju, GAP LR_norm'].verdict == MISSING


def test_few_test_images_leave_accuracies_open(results):
    """Of 50 photos each accuracy has a standard error of 6 points."""
    found = findings(Measured(small_plan(test_images=50), results))['accuracy']
    assert found[0].verdict == OPEN
    error = math.sqrt((75.5 * 24.5 + 70.5 * 29.5) / 50)
    assert found[0].ours.endswith(f'(standard error {error:.2g})')


def test_matching_epoch_is_counted_by_seed(found):
    finding = found['GCP reaches the final accuracy of GAP under LR_norm in fewer epochs',
                    'ResNet-18: GCP_M LR_adju, GAP LR_norm']
    assert finding.ours == 'epoch 2, epoch 2 of 4' and finding.verdict == HOLDS and finding.paper == 'epoch 32 of 100'


def test_robustness(found):
    """6 points fewer errors on everything, clean photos too: relative errors are equal."""
    compared = 'ResNet-18: GAP LR_adju, GCP_M LR_adju'
    finding = found['GCP errs less on corrupted photos', compared]
    assert finding.ours.startswith('mean error 55.5, 49.5') and finding.verdict == HOLDS
    assert found['GCP loses less by corruptions', compared].verdict == OPEN
    assert found['GCP changes its answer less along sequences', compared].verdict == MISSING


def test_landscape_is_compared_by_the_ratio_of_ranges(results):
    for name, high in (('resnet18_gap_lr-adju', 3.), ('resnet18_gcp_m_lr-adju', 2.)):
        for seed in (0, 1, 2):
            records = [dict(iter=i, loss=1., losses=[1., high], distances=[0.5, 1.], smoothness=[1., 2.], seconds=1)
                       for i in (0, 10)]
            write(results / 'small' / name / f'seed_{seed}_landscape.jsonl', dict(
                environment=ENVIRONMENT,
                measured=dict(at='stem', layer='x', direction='ascent', step_sizes=[0.1, 75])), records)
    loss, gradient = (finding for finding in findings(Measured(small_plan(seeds=(0, 1, 2)), results))['landscape']
                      if 'GCP_M' in finding.compared)
    assert loss.ours.startswith("mean range 0.50 times GAP's") and loss.verdict == HOLDS
    assert gradient.ours.startswith("mean range 1.00 times GAP's") and gradient.verdict == OPEN


def test_claims_that_nothing_was_measured_for_are_listed(found):
    missing = {finding.claim for finding in found.values() if finding.verdict == MISSING}
    assert {'GCP under LR_fast matches K-FAC in fewer epochs',
            '128 reduced channels are less accurate than 256'} <= missing
    assert not [finding for finding in found.values() if finding.verdict == MISSING and finding.ours]


def test_mobilenet_is_compared_by_the_one_covariance_pooling_that_it_has(results):
    """No claim twice, none about down-sampling, and what was not measured is listed for the first network alone."""
    other = PaperTraining(network='mobilenetv2', variant=Variant('gcp', 'adju'), config=CONFIG)
    plan = small_plan()
    both = findings(Measured(replace(plan, trainings=[*plan.trainings, other]), results))
    assert both == findings(Measured(plan, results))
    alone = findings(Measured(small_plan(trainings=[other], measurements=[]), results))
    compared = [finding.compared for some in alone.values() for finding in some]
    assert compared.count('MobileNetV2: GCP LR_adju, GAP LR_norm') == 2  # more accurate, and in fewer epochs
    assert not any('GCP_' in text or 'w/o DS' in text for text in compared)
