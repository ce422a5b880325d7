"""How two trainings are compared: what a claim of the paper is judged by."""
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple, Protocol

import numpy as np

from mmgcp.analysis.convergence import matching_epoch
from mmgcp.analysis.robustness import per_image, summaries
from mmgcp.analysis.table_1 import GAP, KFAC, TRAINED
from mmgcp.utils.records import Records

from .effects import Estimate, estimate, photo_error, sampling_error
from .measured import Measured, photos_and_sets
from .paper_plan import Variant
from .smoothness import at_equal_steps, course

TOP_1 = 'accuracy/top1'
OUTCOMES = 'outcomes'  # names of measurements of them start so, see reproduction.imagenette
PRECISION_STEP = 0.1  # MMDetection rounds average precision to this, in %


class Outcome(NamedTuple):
    """What came of a comparison.

    Attributes:
        text (str): What was measured; empty if nothing was.
        estimate (Estimate): The effect.
        effect (str): The effect and its interval in words.
        sampled (bool): Whether the sampling error by the test photos is known, or none is to be had.
    """
    text: str = ''
    estimate: Estimate = estimate([])
    effect: str = ''
    sampled: bool = True


class Metric(Protocol):
    """What judges a claim on one network: whether ``left`` is higher (or lower) than ``right``."""

    def __call__(self, measured: Measured, network: str, left: Variant, right: Variant, higher: bool) -> Outcome:
        ...


class Pairs(NamedTuple):
    """Values of two trainings.

    Attributes:
        values (Mapping[int, tuple[float, float]]): Left and right, by seed.
        noise (float): Standard error of their difference that all seeds share; 0 where none is to be had.
        photos (float): Number of photos that it comes from.
        sampled (bool): As in :class:`Outcome`.
        note (str): What else to say of the measurement.
    """
    values: Mapping[int, tuple[float, float]]
    noise: float = 0.
    photos: float = math.inf
    sampled: bool = True
    note: str = ''


class Means(NamedTuple):
    """Means over the seeds.

    Attributes:
        left (float): Of the first training.
        right (float): Of the second.
        pooling (str): That of the second training, as text.
    """
    left: float
    right: float
    pooling: str


@dataclass(frozen=True)
class Difference:
    """Metric that has a value for each training and seed.

    Attributes:
        pairs (Callable): Maps results, network, left and right to :class:`Pairs`.
        text (Callable[[Means], str]): Writes what was measured.
        unit (str): Of the difference.
        digits (int): Decimals of the difference.
        margin (float): Smallest difference of interest; NaN for none.
    """
    pairs: Callable[[Measured, str, Variant, Variant], Pairs]
    text: Callable[[Means], str]
    unit: str = ' points'
    digits: int = 1
    margin: float = math.nan

    def __call__(self, measured: Measured, network: str, left: Variant, right: Variant, higher: bool) -> Outcome:
        values, noise, photos, sampled, note = self.pairs(measured, network, left, right)
        if not values:
            return Outcome()
        effect = estimate([(first - second) * (1 if higher else -1) for first, second in values.values()], noise,
                          photos, self.margin)
        means = Means(*map(fmean, zip(*values.values(), strict=True)), right.pooling_title(network))
        shown = [f'{value:+.{self.digits}f}' for value in effect[:3]]
        return Outcome(self.text(means) + (f' ({note})' if note else ''), effect, _effect(shown, effect, self.unit),
                       sampled)


def fewer_epochs(measured: Measured, network: str, left: Variant, right: Variant, higher: bool) -> Outcome:
    """Whether the left training reaches the final accuracy of the right one in fewer epochs than the right one has.

    The effect is by how much it is above that accuracy at its last validation before the last epoch of the right one.
    """
    goals = measured.final(right.name(network))
    runs, others = (measured.runs.get(variant.name(network), {}) for variant in (left, right))
    if not goals.keys() & runs.keys():
        return Outcome()
    trained = max(int(run.curve(TOP_1)[0][-1]) for run in others.values())
    curves = {seed: runs[seed].curve(TOP_1) for seed in runs if seed in goals}
    before = {seed: float(values[epochs < trained][-1]) for seed, (epochs, values) in curves.items()
              if epochs[0] < trained}
    matching = [matching_epoch(curve, goals[seed]) for seed, curve in curves.items()]
    reached = [epoch for epoch in matching if epoch is not None]
    said = f'reached by {len(reached)} of {len(matching)} seeds' + (
        f', in epoch {min(reached)}' + f' to {max(reached)}' * (len(set(reached)) > 1) + f' of {trained}'
        if reached else '')
    names = [variant.name(network) for variant in (left, right)]
    if before != {seed: value for seed, value in measured.final(names[0]).items() if seed in before}:
        names = []  # outcomes are those of the last epoch
    judged = Difference(lambda *_: Pairs(_paired(before, goals), *_noise(measured, [before, goals], names, (1, -1))),
                        lambda _: said)
    return judged(measured, network, left, right, higher=True)


def accuracy(measured: Measured, network: str, left: Variant, right: Variant) -> Pairs:
    """Top-1 accuracy after the last epoch, in %."""
    names = [variant.name(network) for variant in (left, right)]
    finals = [measured.final(name) for name in names]
    return Pairs(_paired(*finals), *_noise(measured, finals, names, (1, -1)))


def loss_by_faster_decay(measured: Measured, network: str, left: Variant, right: Variant) -> Pairs:
    """Points of accuracy that a training loses against the same under LR_norm."""
    names = [variant.name(network) for training in (left, right)
             for variant in (training._replace(schedule='norm'), training)]
    finals = [measured.final(name) for name in names]
    losses = [{seed: norm - fast for seed, (norm, fast) in _paired(*finals[i:i + 2]).items()} for i in (0, 2)]
    return Pairs(_paired(*losses), *_noise(measured, finals, names, (1, -1, -1, 1)))


def smoothness(quantity: str, at: str) -> Metric:
    """A quantity of :data:`~reproduction.smoothness.LANDSCAPE` at a place: that of the right training over the left's.

    Ratios are those of measurements at equal iterations, averaged in logarithms. The first measurement, of the
    untrained networks, is told apart and not counted.
    """

    def metric(measured: Measured, network: str, left: Variant, right: Variant, higher: bool) -> Outcome:
        pairs = _paired(*(measured.landscapes(variant.name(network), at) for variant in (left, right)))
        steps = next((its.steps for _, its in pairs.values()), '')
        ratios = [at_equal_steps(course(its, quantity), course(mine, quantity)) for mine, its in pairs.values()
                  if mine.steps == its.steps == steps]
        ratios = [values for values in ratios if (values[0] > 0).sum() > 1]
        if not ratios:
            return Outcome()
        later = [values[iters > 0] for iters, values in ratios]
        effect = estimate([float(np.mean(values)) for values in later])
        shown = [_factor(value) for value in effect[:3]]
        halves = (np.mean([np.array_split(values, 2)[half].mean() for values in later]) for half in (0, 1))
        untrained = [value for iters, values in ratios for value in values[iters == 0]]
        parts = [_factor(fmean(untrained)) if untrained else 'not finite', *map(_factor, halves)]
        text = (f"{right.pooling_title(network)}'s range over {left.pooling_title(network)}'s: untrained {parts[0]}, "
                f'first half {parts[1]}, second half {parts[2]}; steps {steps}')
        return Outcome(text, effect, _effect(shown, effect, ' times'))

    return metric


def cosines(measured: Measured, network: str, left: Variant, right: Variant) -> Pairs:
    """Cosines of the gradient of GCP to those of GAP with K-FAC and of GAP, all by the weights of the left training."""
    found = measured.measurements('gradients', left.name(network))
    rows = {seed: records.records[-1]['rows'][TRAINED]['cosines'] for seed, records in found.items()}
    return Pairs({seed: (row[KFAC], row[GAP]) for seed, row in rows.items()})


def robustness(measurement: str, metric: str) -> Callable[..., Pairs]:
    """A metric of robustness, whose sampling error is that of the differences by photo."""

    def pairs(measured: Measured, network: str, left: Variant, right: Variant) -> Pairs:
        names = [variant.name(network) for variant in (left, right)]
        results = _paired(*(measured.robustness(measurement, name) for name in names))
        if not results:
            return Pairs({})
        both = {seed: summaries(pair, partial=True) for seed, pair in results.items()}
        records = [measured.measurements(measurement, name) for name in names]
        first, _ = next(iter(both.values()))
        by_photo = _by_photo([{seed: some[seed] for seed in results} for some in records], (1, -1), metric)
        known = (0., math.inf) if by_photo is None else (photo_error(by_photo), len(by_photo))
        return Pairs({seed: tuple(summary.metrics[metric] for summary in pair) for seed, pair in both.items()},
                     *known, sampled=by_photo is not None, note=photos_and_sets(first))

    return pairs


def precision(kind: str) -> Callable[..., Pairs]:
    """Average precision after the last epoch, in %: ``'bbox'`` or ``'segm'``; its noise is that of the rounding."""

    def pairs(measured: Measured, network: str, left: Variant, right: Variant) -> Pairs:
        finals = ({seed: 100 * value for seed, value in measured.final(
            variant.name(network), f'coco/{kind}_mAP').items()} for variant in (left, right))
        return Pairs(_paired(*finals), PRECISION_STEP / math.sqrt(6))  # of two uniform errors

    return pairs


def _paired(left, right):
    """Values of the seeds that both have."""
    return {seed: (left[seed], right[seed]) for seed in left if seed in right}


def _noise(measured, finals, names, signs) -> tuple[float, int]:
    """Sampling error of a sum of final accuracies with signs, and the number of photos that it comes from.

    Where the outcomes of the photos are not known for all trainings, it is the upper bound for independent networks.
    Two photos more, each in favour of one side, keep it positive for equal outcomes (cf. Agresti & Min, 2005).
    """
    kinds = [measurement.name for measurement in measured.plan.measurements if measurement.name.startswith(OUTCOMES)]
    tested = [{seed: outcomes for kind in kinds for seed, outcomes in measured.measurements(kind, name).items()}
              for name in names]
    by_photo = _by_photo(tested, signs, 'clean error') if names else None
    if by_photo is not None:
        return photo_error(np.append(by_photo, (100, -100))), len(by_photo)
    images = measured.plan.test_images
    return sampling_error([fmean(final.values()) for final in finals if final], images), images


def _by_photo(found: Sequence[Mapping[int, Records]], signs, metric) -> np.ndarray | None:
    """Sum of a metric with signs, for each photo; that of a training is its mean over the seeds.

    Some of the spread over the seeds is in it too, the less the more seeds there are. None where a training is not
    known by photo, or the photos are not the same.
    """
    values = [[per_image(measured.records, metric) for measured in some.values()] for some in found]
    if any(not some or any(value is None for value in some) for some in values) or len({
            record['outcomes']['photos'] for some in found for measured in some.values()
            for record in measured.records}) > 1:
        return None
    return sum(sign * np.mean(some, axis=0) for sign, some in zip(signs, values, strict=True))


def _effect(shown: Sequence[str], effect: Estimate, unit: str) -> str:
    """An effect, and its interval where there is one."""
    mean, low, high = shown
    return f'{mean}{unit} ' + (f'[{low}, {high}]' if math.isfinite(effect.high) else '(no interval)')


def _factor(logarithm: float) -> str:
    return f'{math.exp(min(logarithm, 700)):.3g}'
