"""The claims of the paper (Wang et al., CVPR 2020), and what a plan measured of each."""
import math
from collections.abc import Iterator
from statistics import fmean, stdev
from typing import NamedTuple

import numpy as np

from mmgcp.analysis.convergence import matching_epoch
from mmgcp.analysis.gradients import GAP, KFAC, TRAINED
from mmgcp.analysis.robustness import summaries

from .measured import Measured
from .names import NETWORKS, POOLINGS, network, pooling_title
from .verdict import HOLDS, MISSING, OPEN, REVERSED, Verdict, judge, sampling_error

SUBJECTS = ('accuracy', 'convergence', 'schedules', 'resolution', 'landscape', 'gradients', 'robustness', 'reduction')
LANDSCAPE = {'losses': 'loss', 'distances': 'gradient'}
ROBUSTNESS = {  # by metric: the measurement, what GCP is claimed to do, and the name in the paper
    'mean error': ('robustness_c', 'errs less on corrupted photos', 'mCE'),
    'relative mean error': ('robustness_c', 'loses less by corruptions', 'relative mCE'),
    'mean FP': ('robustness_p', 'changes its answer less along sequences', 'mFR'),
    'mean uT5D': ('robustness_p', 'moves its five best answers less along sequences', 'mT5D'),
}
# What the paper prints of the networks on ImageNet: Tables 2 (gain in top-1, matching epoch), 8 (top-1 without
# down-sampling over that with it), 5 (loss by 128 channels) and 4 (GAP, GCP).
PAPER = {
    'resnet18': {'gain': '+4.39 points', 'epoch': 'epoch 32 of 100', 'w/o DS': '+0.99 points', 'mCE': '84.7, 76.3',
                 'relative mCE': '103.9, 101.3', 'mFR': '72.8, 53.2', 'mT5D': '87.0, 77.1'},
    'resnet50': {'gain': '+1.86 points', 'epoch': 'epoch 40 of 100', 'w/o DS': '+0.46 points', '128': '-0.39 points',
                 'mCE': '76.7, 70.7', 'relative mCE': '105.0, 97.9', 'mFR': '58.0, 47.5', 'mT5D': '78.3, 74.6'},
    'mobilenetv2': {'gain': '+2.39 points', 'epoch': 'epoch 68 of 400', '128': '-1.39 points', 'mCE': '87.1, 81.7',
                    'relative mCE': '114.9, 110.6', 'mFR': '79.8, 64.3', 'mT5D': '96.5, 87.6'},
}


class Finding(NamedTuple):
    """A claim and what became of it.

    Attributes:
        claim (str): What the paper says, in a few words.
        source (str): Where it says so.
        paper (str): Its number.
        compared (str): What was compared here.
        ours (str): What was measured.
        verdict (str): One of the words of :mod:`mmgcp.experiments.verdict`.
    """
    claim: str
    source: str
    paper: str
    compared: str
    ours: str
    verdict: str


def findings(measured: Measured) -> dict[str, list[Finding]]:
    """All claims of the paper by subject, for each network of the plan; of the first also what was not measured.

    Args:
        measured (Measured): The results.
    """
    networks = list(dict.fromkeys(network(training.name) for training in measured.plan.trainings
                                  if '_lr-' in training.name))
    found = {subject: [] for subject in SUBJECTS}
    for name in networks:
        judged = _Judge(measured, name)
        for subject in SUBJECTS:
            found[subject] += [finding for finding in getattr(judged, subject)()
                               if name == networks[0] or finding.verdict != MISSING]
    return {**found, 'transfer': list(_transfer(measured))}


class _Judge:
    """Compares trainings of one network by their names, ``<network>_<pooling>_lr-<setting>``."""

    def __init__(self, measured: Measured, network: str) -> None:
        self.measured = measured
        self.network = network
        planned = {training.name for training in measured.plan.trainings}
        # The pooling that was trained under all schedules.
        self.gcp = 'gcp_m' if self.name('gcp_m', 'adju') in planned else 'gcp'
        self.paper = PAPER.get(network, {})

    def name(self, pooling: str, lr: str) -> str:
        return f'{self.network}_{pooling}_lr-{lr}'

    def pooling(self, pooling: str) -> str:
        """A pooling as text, after the network."""
        return pooling_title(self.network, pooling)

    def accuracy(self) -> Iterator[Finding]:
        claim = 'GCP under LR_adju is more accurate than GAP under LR_norm, after half the epochs'
        for pooling in dict.fromkeys((self.gcp, 'gcp', 'gcp_d')):
            paper = self.paper.get('gain', '') if pooling == 'gcp' else ''
            yield self._accuracy(claim, 'Table 2', paper, (pooling, 'adju'), ('gap', 'norm'))
        claim = 'GCP is more accurate than GAP under the same rates'
        for lr in ('norm', 'adju', 'fast'):
            yield self._accuracy(claim, 'Fig. 3', '', (self.gcp, lr), ('gap', lr))

    def convergence(self) -> Iterator[Finding]:
        claim = 'GCP reaches the final accuracy of GAP under LR_norm in fewer epochs'
        goals, gap = self.measured.final(self.name('gap', 'norm')), self.measured.runs.get(self.name('gap', 'norm'), {})
        trained = max((int(run.curve('accuracy/top1')[0][-1]) for run in gap.values()), default=0)
        for lr, paper in (('adju', self.paper.get('epoch', '')), ('fast', '')):
            runs = self.measured.runs.get(self.name(self.gcp, lr), {})
            epochs = {seed: matching_epoch(runs[seed].curve('accuracy/top1'), goal) for seed, goal in goals.items()
                      if seed in runs}
            earlier = [epoch is not None and epoch < trained for epoch in epochs.values()]
            word = MISSING if not epochs else OPEN
            if len(epochs) > 1 and all(earlier):
                word = HOLDS
            elif len(epochs) > 1 and not any(earlier):
                word = REVERSED
            said = ', '.join('not reached' if epoch is None else f'epoch {epoch}' for epoch in epochs.values())
            yield self._finding(claim, 'Table 2, Fig. 1', paper, f'{self.pooling(self.gcp)} LR_{lr}, GAP LR_norm',
                                f'{said} of {trained}' if epochs else '', word)

    def schedules(self) -> Iterator[Finding]:
        claim = 'Faster decay of the rate costs GCP less accuracy than GAP'
        for lr in ('adju', 'fast'):
            names = [self.name(pooling, setting) for pooling in ('gap', self.gcp) for setting in ('norm', lr)]
            finals = [self.measured.final(name) for name in names]
            losses = {seed: [finals[0][seed] - finals[1][seed], finals[2][seed] - finals[3][seed]]
                      for seed in finals[0] if all(seed in final for final in finals)}
            verdict = judge({seed: gap - gcp for seed, (gap, gcp) in losses.items()}, self._noise(*names))
            means = [fmean(values) for values in zip(*losses.values(), strict=True)] or [math.nan, math.nan]
            title = self.pooling(self.gcp)
            yield self._finding(claim, 'Fig. 3', '', f'GAP and {title}, LR_norm to LR_{lr}', _said(
                verdict, f'GAP loses {means[0]:.1f}, {title} {means[1]:.1f} points'), verdict.word)
        claim = 'LR_adju ends at higher accuracy than LR_fast'
        yield self._accuracy(claim, 'Fig. 4', '', (self.gcp, 'adju'), (self.gcp, 'fast'))

    def landscape(self) -> Iterator[Finding]:
        for quantity, name in LANDSCAPE.items():
            claim = f'The {name} varies less along the gradient with GCP than with GAP'
            for pooling in dict.fromkeys((self.gcp, 'gcp_d')):
                gap, gcp = (self._ranges(self.name(other, 'adju'), quantity) for other in ('gap', pooling))
                ratios = {seed: math.log(gap[seed] / gcp[seed]) for seed in gap if seed in gcp}
                verdict = judge(ratios)
                ratio = math.exp(-verdict.mean) if ratios else math.nan
                yield self._finding(claim, 'Fig. 2', 'narrower (drawn)', f'{self.pooling(pooling)} and GAP, LR_adju',
                                    _said(verdict, f"mean range {ratio:.2f} times GAP's", 'of its logarithm '),
                                    verdict.word)

    def gradients(self) -> Iterator[Finding]:
        claim = "GCP's gradient is nearer to that of K-FAC than to plain GAP's"
        found = self.measured.measurements('gradients', self.name(self.gcp, 'adju'))
        cosines = {seed: _cosines(records.records[-1]) for seed, records in found.items()}
        verdict = judge({seed: kfac - gap for seed, (gap, kfac) in cosines.items()})
        means = [fmean(values) for values in zip(*cosines.values(), strict=True)] or [math.nan, math.nan]
        yield self._finding(claim, 'Table 1, Section 3.3', 'by likeness of formulas',
                            f'{self.pooling(self.gcp)}, LR_adju', _said(
                                verdict, f'cosine {means[1]:.3f} to GAP with K-FAC, {means[0]:.3f} to GAP'),
                            verdict.word)
        yield self._finding('GCP under LR_fast matches K-FAC in fewer epochs', 'Table 2', '75.31 and 75.10, ResNet-50',
                            'GCP LR_fast, GAP with K-FAC', '', MISSING)

    def robustness(self) -> Iterator[Finding]:
        for metric, (kind, claim, name) in ROBUSTNESS.items():
            for lr in ('norm', 'adju'):
                gap, gcp = (self.measured.robustness(kind, self.name(*which))
                            for which in (('gap', lr), (self.gcp, 'adju')))
                pairs = {seed: summaries([gap[seed], gcp[seed]], partial=True) for seed in gap if seed in gcp}
                verdict = judge({seed: low.metrics[metric] - high.metrics[metric]
                                 for seed, (low, high) in pairs.items()}, _over_corruptions(pairs.values(), metric))
                means = [fmean(pair[index].metrics[metric] for pair in pairs.values()) if pairs else math.nan
                         for index in (0, 1)]
                title = self.pooling(self.gcp)
                yield self._finding(f'GCP {claim}', 'Table 4', f"{name} {self.paper.get(name, '')}".strip(),
                                    f'GAP LR_{lr}, {title} LR_adju', _said(
                                        verdict, f'{metric} {means[0]:.3g}, {means[1]:.3g}'), verdict.word)

    def reduction(self) -> Iterator[Finding]:
        claim = '128 reduced channels are less accurate than 256'
        names = [self.name(self.gcp, f'short{end}') for end in ('_128-channels', '')]
        small, whole = map(self.measured.final, names)
        verdict = judge({seed: whole[seed] - small[seed] for seed in small if seed in whole}, self._noise(*names))
        yield self._finding(claim, 'Table 5', self.paper.get('128', '-0.39 points, ResNet-50'),
                            f'{self.pooling(self.gcp)}, LR_short', _said(verdict, f'{-verdict.mean:+.1f} points'),
                            verdict.word)

    def resolution(self) -> Iterator[Finding]:
        yield self._accuracy('GCP is more accurate without down-sampling before conv5 than with it', 'Table 8',
                             self.paper.get('w/o DS', ''), ('gcp', 'adju'), ('gcp_d', 'adju'))
        yield self._accuracy('The gain is of the pooling, not of the finer feature map', 'our control', '',
                             ('gcp', 'adju'), ('gap_wo-ds', 'adju'))
        yield self._accuracy('The finer feature map alone helps GAP', 'our control', '',
                             ('gap_wo-ds', 'adju'), ('gap', 'adju'))

    def _accuracy(self, claim, source, paper, better, worse):
        """A claim that one training ends at higher accuracy than another; each is a pooling and a schedule."""
        names = [self.name(*better), self.name(*worse)]
        high, low = map(self.measured.final, names)
        differences = {seed: high[seed] - low[seed] for seed in high if seed in low}
        verdict = judge(differences, self._noise(*names))
        (first, lr), (second, other) = better, worse
        compared = (f'{self.pooling(first)} and {self.pooling(second)}, LR_{lr}' if lr == other and first != second else
                    f'{self.pooling(first)} LR_{lr}, {self.pooling(second)} LR_{other}')
        values = [fmean(final[seed] for seed in differences) if differences else math.nan for final in (high, low)]
        return self._finding(claim, source, paper, compared, _said(
            verdict, f'{values[0]:.1f} and {values[1]:.1f} %, {verdict.mean:+.1f} points'), verdict.word)

    def _finding(self, claim, source, paper, compared, ours, word):
        title = NETWORKS.get(self.network, self.network)
        return Finding(claim, source, paper, f'{title}: {compared}', ours, word)

    def _ranges(self, name, quantity):
        """Mean over the measurements of maximum minus minimum over the step sizes, by seed."""
        return {seed: float(np.mean(np.subtract(*landscape.bounds(quantity)[::-1])))
                for seed, landscape in self.measured.landscapes(name).items()}

    def _noise(self, *names):
        finals = [self.measured.final(name) for name in names]
        return sampling_error([fmean(final.values()) for final in finals if final], self.measured.plan.test_images)


def _transfer(measured):
    """Detectors on backbones that were pre-trained with different poolings."""
    rows = [('Networks pre-trained with GCP_M are better backbones than with GAP', 'gcp_m', 'gap', '+0.7', '+0.6'),
            ('Networks pre-trained with GCP_D are better backbones than with GAP', 'gcp_d', 'gap', '+0.1', '+0.1'),
            ('GCP_M is a better backbone than GCP_D', 'gcp_m', 'gcp_d', '+0.6', '+0.5')]
    for claim, better, worse, *paper in rows:
        for metric, kind, number in zip(('bbox', 'segm'), ('box', 'mask'), paper, strict=True):
            high, low = (measured.final(f'mask_rcnn_r18_{pooling}', f'coco/{metric}_mAP')
                         for pooling in (better, worse))
            verdict = judge({seed: 100 * (high[seed] - low[seed]) for seed in high if seed in low})
            yield Finding(claim, 'Tables 6 and 7', f'{number} {kind} AP, ResNet-50',
                          f'Mask R-CNN: {POOLINGS[better]} and {POOLINGS[worse]}',
                          _said(verdict, f'{verdict.mean:+.1f} {kind} AP'), verdict.word)


def _over_corruptions(pairs, metric):
    """Standard error of the mean difference of two networks over the corruptions, averaged over seeds."""
    single = metric.replace('mean ', '')
    differences = [[low.corruptions[kind][single] - high.corruptions[kind][single] for kind in low.corruptions]
                   for low, high in pairs]
    by_kind = [fmean(values) for values in zip(*differences, strict=True)]
    return stdev(by_kind) / math.sqrt(len(by_kind)) if len(by_kind) > 1 else 0.


def _cosines(record):
    """Cosines of the gradient of GCP as trained to those of GAP and of GAP with K-FAC."""
    cosines = record['rows'][TRAINED]['cosines']
    return cosines[GAP], cosines[KFAC]


def _said(verdict: Verdict, values: str, of: str = '') -> str:
    if not verdict.seeds:
        return ''
    error = f'standard error {of}{verdict.error:.2g}' if math.isfinite(verdict.error) else 'one seed'
    return f'{values} ({error})'
