"""How two trainings are compared: what a claim of the paper is judged by."""
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import NamedTuple, Protocol

from mmgcp.analysis.convergence import matching_epoch
from mmgcp.analysis.robustness import summaries
from mmgcp.analysis.table_1 import GAP, KFAC, TRAINED

from .measured import Measured
from .trainings import Variant
from .verdict import HOLDS, MISSING, OPEN, REVERSED, judge, sampling_error


class Outcome(NamedTuple):
    """What came of a comparison.

    Attributes:
        text (str): What was measured; empty if nothing was.
        word (str): One of the words of :mod:`reproduction.verdict`.
    """
    text: str
    word: str


class Metric(Protocol):
    """What judges a claim on one network: whether ``left`` is higher (or lower) than ``right``."""

    def __call__(self, measured: Measured, network: str, left: Variant, right: Variant, higher: bool) -> Outcome:
        ...


class Pairs(NamedTuple):
    """Values of two trainings.

    Attributes:
        values (Mapping[int, tuple[float, float]]): Left and right, by seed.
        noise (float | None): Standard error of their difference that all seeds share; None where it is not known.
    """
    values: Mapping[int, tuple[float, float]]
    noise: float | None = None


class Means(NamedTuple):
    """Means over the seeds.

    Attributes:
        left (float): Of the first training.
        right (float): Of the second.
        difference (float): Left minus right.
        pooling (str): That of the second training, as text.
    """
    left: float
    right: float
    difference: float
    pooling: str


@dataclass(frozen=True)
class Difference:
    """Metric that has a value for each training and seed.

    Attributes:
        pairs (Callable): Maps results, network, left and right to :class:`Pairs`.
        text (Callable[[Means], str]): Writes what was measured.
        error_of (str): What the standard error is of, where this is not the difference itself.
    """
    pairs: Callable[[Measured, str, Variant, Variant], Pairs]
    text: Callable[[Means], str]
    error_of: str = ''

    def __call__(self, measured: Measured, network: str, left: Variant, right: Variant, higher: bool) -> Outcome:
        values, noise = self.pairs(measured, network, left, right)
        sign = 1 if higher else -1
        verdict = judge({seed: sign * (first - second) for seed, (first, second) in values.items()}, noise)
        if not values:
            return Outcome('', verdict.word)
        first, second = (fmean(column) for column in zip(*values.values(), strict=True))
        error = f'standard error {self.error_of}{verdict.error:.2g}' if math.isfinite(verdict.error) else 'one seed'
        means = Means(first, second, sign * verdict.mean, right.pooling_title(network))
        return Outcome(f'{self.text(means)} ({error})', verdict.word)


def fewer_epochs(measured: Measured, network: str, left: Variant, right: Variant, higher: bool) -> Outcome:
    """Whether the left training reaches the final accuracy of the right one in fewer epochs, for every seed."""
    metric, goals = 'accuracy/top1', measured.final(right.name(network))
    runs, others = (measured.runs.get(variant.name(network), {}) for variant in (left, right))
    epochs = [matching_epoch(runs[seed].curve(metric), goal) for seed, goal in goals.items() if seed in runs]
    if not epochs:
        return Outcome('', MISSING)
    trained = max(int(run.curve(metric)[0][-1]) for run in others.values())
    said = ', '.join('not reached' if epoch is None else f'epoch {epoch}' for epoch in epochs)
    earlier = [epoch is not None and epoch < trained for epoch in epochs]
    word = OPEN
    if len(epochs) > 1 and all(earlier):
        word = HOLDS
    elif len(epochs) > 1 and not any(earlier):
        word = REVERSED
    return Outcome(f'{said} of {trained}', word)


def accuracy(measured: Measured, network: str, left: Variant, right: Variant) -> Pairs:
    """Top-1 accuracy after the last epoch, in %."""
    finals = [measured.final(variant.name(network)) for variant in (left, right)]
    return Pairs(_paired(*finals), _noise(measured, finals))


def loss_by_faster_decay(measured: Measured, network: str, left: Variant, right: Variant) -> Pairs:
    """Points of accuracy that a training loses against the same under LR_norm."""
    finals = [measured.final(variant.name(network)) for training in (left, right)
              for variant in (training._replace(schedule='norm'), training)]
    losses = [{seed: norm - fast for seed, (norm, fast) in _paired(*finals[i:i + 2]).items()} for i in (0, 2)]
    return Pairs(_paired(*losses), _noise(measured, finals))


def log_range(quantity: str) -> Callable[..., Pairs]:
    """Logarithm of the mean range of a quantity along the gradient: ``'losses'`` or ``'distances'``."""

    def pairs(measured: Measured, network: str, left: Variant, right: Variant) -> Pairs:
        return Pairs(_paired(*({seed: math.log(landscape.mean_range(quantity))
                                for seed, landscape in measured.landscapes(variant.name(network)).items()}
                               for variant in (left, right))))

    return pairs


def cosines(measured: Measured, network: str, left: Variant, right: Variant) -> Pairs:
    """Cosines of the gradient of GCP to those of GAP with K-FAC and of GAP, all by the weights of the left training."""
    found = measured.measurements('gradients', left.name(network))
    rows = {seed: records.records[-1]['rows'][TRAINED]['cosines'] for seed, records in found.items()}
    return Pairs({seed: (row[KFAC], row[GAP]) for seed, row in rows.items()})


def robustness(measurement: str, metric: str) -> Callable[..., Pairs]:
    """A metric of robustness, whose sampling error is that over the corruptions."""

    def pairs(measured: Measured, network: str, left: Variant, right: Variant) -> Pairs:
        results = _paired(*(measured.robustness(measurement, variant.name(network)) for variant in (left, right)))
        both = {seed: summaries(pair, partial=True) for seed, pair in results.items()}
        single = metric.replace('mean ', '')
        differences = [[first.corruptions[kind][single] - second.corruptions[kind][single]
                        for kind in first.corruptions] for first, second in both.values()]
        by_kind = [fmean(values) for values in zip(*differences, strict=True)]
        noise = stdev(by_kind) / math.sqrt(len(by_kind)) if len(by_kind) > 1 else 0.
        return Pairs({seed: (first.metrics[metric], second.metrics[metric])
                      for seed, (first, second) in both.items()}, noise)

    return pairs


def precision(kind: str) -> Callable[..., Pairs]:
    """Average precision after the last epoch, in %: ``'bbox'`` or ``'segm'``."""

    def pairs(measured: Measured, network: str, left: Variant, right: Variant) -> Pairs:
        finals = ({seed: 100 * value for seed, value in measured.final(
            variant.name(network), f'coco/{kind}_mAP').items()} for variant in (left, right))
        return Pairs(_paired(*finals))

    return pairs


def _paired(left, right):
    """Values of the seeds that both have."""
    return {seed: (left[seed], right[seed]) for seed in left if seed in right}


def _noise(measured, finals):
    return sampling_error([fmean(final.values()) for final in finals if final], measured.plan.test_images)
