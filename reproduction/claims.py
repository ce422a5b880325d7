"""The claims of the paper (Wang et al., CVPR 2020); a new one is one more :class:`Claim` in :data:`CLAIMS`."""
from collections.abc import Mapping

from .claim import Claim, Finding
from .measured import Measured
from .metrics import (
    Difference,
    accuracy,
    cosines,
    fewer_epochs,
    loss_by_faster_decay,
    precision,
    robustness,
    smoothness,
)
from .paper_plan import Variant
from .verdict import MARGIN, MISSING, judge

RESNETS = ('resnet18', 'resnet50')
DETECTORS = ('mask_rcnn_r18', )
ACCURACY = Difference(accuracy, lambda means: f'{means.left:.1f} and {means.right:.1f} %', margin=MARGIN)
GAP_NORM, GAP_ADJU, GCP_ADJU = Variant('gap', 'norm'), Variant('gap', 'adju'), Variant('gcp_m', 'adju')

_HALF = dict(
    subject='accuracy', source='Table 2', right=GAP_NORM, metric=ACCURACY,
    statement='GCP under LR_adju is more accurate than GAP under LR_norm, after half the epochs')
_SAME_RATES = dict(
    subject='accuracy', source='Fig. 3', metric=ACCURACY,
    statement='GCP is more accurate than GAP under the same rates')
_TUNED = dict(subject='classifier', source='our control', metric=ACCURACY, networks=('resnet18', ))
_FEWER = dict(subject='convergence', right=GAP_NORM, metric=fewer_epochs)


def _decay(schedule: str) -> Claim:
    return Claim(
        subject='schedules', source='Fig. 3', left=Variant('gap', schedule), right=Variant('gcp_m', schedule),
        statement='Faster decay of the rate costs GCP less accuracy than GAP',
        metric=Difference(loss_by_faster_decay,
                          lambda means: f'GAP loses {means.left:.1f}, {means.pooling} {means.right:.1f} points'),
        compared=f'{{left}} and {{right}}, LR_norm to LR_{schedule}')


def _landscape(at: str, place: str, source: str, **settings) -> tuple[Claim, ...]:
    return tuple(Claim(
        subject='landscape', source=source, left=Variant('gcp', 'norm'), **settings,
        statement=f'{place}, the {name} varies less along the gradient with GCP than with GAP',
        metric=smoothness(quantity, at))
        for quantity, name in (('range of the loss, Eq. 3', 'loss'), ('range of the gradient, Eq. 4', 'gradient')))


def _robust(statement: str, measurement: str, metric: str, lr: str, paper: Mapping[str, str]) -> Claim:
    return Claim(
        subject='robustness', source='Table 4', paper=paper, left=Variant('gap', lr), right=GCP_ADJU,
        statement=statement, compared=f'{{left}} LR_{lr}, {{right}} LR_adju',
        metric=Difference(robustness(measurement, metric),
                          lambda means: f'{metric} {means.left:.3g}, {means.right:.3g}',
                          '' if metric == 'mean uT5D' else ' points', 3 if metric == 'mean uT5D' else 1))


def _transfer(better: str, worse: str, statement: str, kind: str, name: str, paper: str) -> Claim:
    return Claim(
        subject='transfer', source='Tables 6 and 7', paper=f'{paper} {name} AP, ResNet-50', networks=DETECTORS,
        statement=statement, left=Variant(better), right=Variant(worse),
        metric=Difference(precision(kind), lambda means: f'{means.left:.1f} and {means.right:.1f} {name} AP'))


CLAIMS = (
    Claim(**_HALF, left=GCP_ADJU, networks=RESNETS),
    Claim(**_HALF, left=Variant('gcp', 'adju'), paper={
        'resnet18': '+4.39 points', 'resnet50': '+1.86 points', 'mobilenetv2': '+2.39 points'}),
    Claim(**_HALF, left=Variant('gcp_d', 'adju'), networks=RESNETS),
    *(Claim(**_SAME_RATES, left=Variant('gcp_m', lr), right=Variant('gap', lr), paper=paper) for lr, paper in (
        ('norm', {'resnet18': '+5.00 points w/o DS (Tables 2, 8)', 'resnet50': '+2.39 points w/o DS (Tables 2, 8)'}),
        ('adju', ''), ('fast', ''))),
    Claim(**_TUNED, left=GCP_ADJU, right=Variant('gap', 'norm', 'classifier-lr-0.1'),
          statement='GCP after half the epochs is more accurate than GAP with a tenth of the rate in its classifier',
          compared='{left} LR_adju, {right} LR_norm with classifier lr 0.1'),
    *(Claim(**_TUNED, left=Variant('gcp_m', lr), right=Variant('gap', lr, 'classifier-lr-0.1'),
            statement='GCP is more accurate than GAP with a tenth of the rate in its classifier, after as many epochs',
            compared=f'{{left}} and {{right}} with classifier lr 0.1, LR_{lr}') for lr in ('norm', 'adju')),
    Claim(**_TUNED, left=Variant('gcp', 'adju'), right=Variant('gap_wo-ds', 'adju', 'classifier-lr-0.1'),
          statement='GCP is more accurate than GAP with a tenth of the rate in its classifier, after as many epochs',
          compared='{left} and {right} with classifier lr 0.1, LR_adju'),
    Claim(**_FEWER, source='Table 2, Fig. 1', left=GCP_ADJU, paper={
        'resnet18': 'epoch 32 of 100', 'resnet50': 'epoch 40 of 100', 'mobilenetv2': 'epoch 68 of 400'},
          statement='GCP under LR_adju reaches the final accuracy of GAP under LR_norm in fewer epochs'),
    Claim(**_FEWER, source='Section 4.1, Fig. 3', left=Variant('gcp_m', 'fast'), paper='about a quarter of the epochs',
          statement='GCP under LR_fast reaches the final accuracy of GAP under LR_norm'),
    _decay('adju'),
    _decay('fast'),
    Claim(subject='schedules', source='Fig. 4', left=GCP_ADJU, right=Variant('gcp_m', 'fast'), metric=ACCURACY,
          statement='LR_adju ends at higher accuracy than LR_fast'),
    Claim(subject='resolution', source='Table 8', left=Variant('gcp', 'adju'), right=Variant('gcp_d', 'adju'),
          metric=ACCURACY, networks=RESNETS, paper={
              'resnet18': '+0.99 points, LR_norm', 'resnet50': '+0.46 points, LR_norm'},
          statement='GCP is more accurate without down-sampling before conv5 than with it'),
    Claim(subject='resolution', source='our control', left=Variant('gcp', 'adju'), right=Variant('gap_wo-ds', 'adju'),
          metric=ACCURACY, networks=RESNETS,
          statement='With one rate for all layers GCP is more accurate than GAP on a map of the same size'),
    Claim(subject='resolution', source='our control', left=Variant('gap_wo-ds', 'adju'), right=GAP_ADJU,
          metric=ACCURACY, networks=RESNETS, statement='The finer feature map alone helps GAP'),
    *(claim for at, place, source in (('stem', 'In the stem', 'Fig. 2, released code'),
                                      ('last_conv', 'At the last convolution', 'Fig. 2, Section 3'))
      for claim in _landscape(at, place, source, right=GAP_NORM, paper='narrower (drawn)')),
    *_landscape('last_conv', 'At the last convolution', 'our control', right=Variant('gap_wo-ds', 'norm'),
                networks=RESNETS),
    Claim(subject='gradients', source='our test of Section 3.3', paper='by likeness of formulas', left=GCP_ADJU,
          right=GCP_ADJU, statement="GCP's gradient is nearer to that of K-FAC than to plain GAP's",
          metric=Difference(
              cosines, lambda means: f'cosine {means.left:.3f} to GAP with K-FAC, {means.right:.3f} to GAP', '', 3)),
    Claim(subject='gradients', source='Table 2', paper='75.31 and 75.10, ResNet-50', left=Variant('gcp', 'fast'),
          right=Variant('gap', 'adju'), metric=None, compared='GCP LR_fast, GAP with K-FAC',
          statement='GCP under LR_fast matches K-FAC in fewer epochs'),
    *(_robust(statement, measurement, metric, lr, paper)
      for statement, measurement, metric, paper in (
          ('GCP errs less on corrupted photos', 'robustness_c', 'mean error', {
              'resnet18': 'mCE 84.7, 76.3', 'resnet50': 'mCE 76.7, 70.7', 'mobilenetv2': 'mCE 87.1, 81.7'}),
          ('GCP loses less by corruptions', 'robustness_c', 'relative mean error', {
              'resnet18': 'relative mCE 103.9, 101.3', 'resnet50': 'relative mCE 105.0, 97.9',
              'mobilenetv2': 'relative mCE 114.9, 110.6'}),
          ('GCP changes its answer less along sequences', 'robustness_p', 'mean FP', {
              'resnet18': 'mFR 72.8, 53.2', 'resnet50': 'mFR 58.0, 47.5', 'mobilenetv2': 'mFR 79.8, 64.3'}),
          ('GCP moves its five best answers less along sequences', 'robustness_p', 'mean uT5D', {
              'resnet18': 'mT5D 87.0, 77.1', 'resnet50': 'mT5D 78.3, 74.6', 'mobilenetv2': 'mT5D 96.5, 87.6'}))
      for lr in ('norm', 'adju')),
    Claim(subject='reduction', source='Table 5', left=Variant('gcp_m', 'short', '128-channels'),
          right=Variant('gcp_m', 'short'), higher=False, paper={
              'resnet18': '-0.39 points, ResNet-50', 'resnet50': '-0.39 points', 'mobilenetv2': '-1.39 points'},
          statement='128 reduced channels are less accurate than 256',
          metric=ACCURACY),
    *(_transfer(better, worse, statement, kind, name, paper)
      for better, worse, statement, *papers in (
          ('gcp_m', 'gap', 'Detectors from GCP_M networks are better than from GAP networks', '+0.7', '+0.6'),
          ('gcp_d', 'gap', 'Detectors from GCP_D networks are better than from GAP networks', '+0.1', '+0.1'),
          ('gcp_m', 'gcp_d', 'Detectors from GCP_M networks are better than from GCP_D networks', '+0.6', '+0.5'))
      for kind, name, paper in zip(('bbox', 'segm'), ('box', 'mask'), papers, strict=True)),
)


def findings(measured: Measured) -> dict[str, list[Finding]]:
    """Judge all claims together, by subject, on each network of the plan; on the first also those not measured there.

    Args:
        measured (Measured): The results.
    """
    compared = [(claim.subject, claim.compare(measured, network), network == _first(claim, measured))
                for network in measured.networks for claim in CLAIMS if network in claim.networks]
    outcomes = [finding.outcome for _, finding, _ in compared]
    verdicts = judge([outcome.estimate for outcome in outcomes], [outcome.sampled for outcome in outcomes])
    found = {claim.subject: [] for claim in CLAIMS}
    for (subject, finding, is_first), (word, p) in zip(compared, verdicts, strict=True):
        if is_first or word != MISSING:
            found[subject].append(finding._replace(verdict=word, p=p))
    return found


def _first(claim: Claim, measured: Measured) -> str:
    return next(network for network in measured.networks if network in claim.networks)
