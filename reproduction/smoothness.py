"""Which notion of smoothness differs between GCP and GAP: ratios at equal iterations and at equal loss.

Fig. 2 of the paper compares ranges along the gradient. To first order the loss rises along the gradient ``g`` by the
step times ``||g||^2``: a narrow range may mean a smooth loss or a short gradient. So ranges are also divided by it, and
set beside effective beta-smoothness and, in the weights, the curvature, which has no step in it.
"""
from collections.abc import Callable
from statistics import fmean
from typing import NamedTuple

import numpy as np

from mmgcp.analysis.curvature import CurvatureLog
from mmgcp.analysis.figure_2 import LandscapeLog

from .effects import Estimate, estimate
from .measured import Measured
from .paper_plan import NETWORKS, Variant
from .verdict import FEW, HOLDS, MISSING, OPEN, REVERSED, judge

GCP = Variant('gcp', 'norm')
# GAP as in Fig. 2, and a control, GAP on a map of as many pixels as GCP's: they alone make the gradient there shorter.
BASES = (Variant('gap', 'norm'), Variant('gap_wo-ds', 'norm'))
PLACES = {'stem': 'stem', 'last_conv': 'last convolution', 'weights': 'weights'}
LANDSCAPE: dict[str, Callable[[LandscapeLog], np.ndarray]] = {
    'squared length of the gradient': lambda log: log.gradient_norm ** 2,
    'range of the loss, Eq. 3': lambda log: log.ranges('losses'),
    'range of the loss over the squared length': lambda log: log.ranges('losses') / log.gradient_norm ** 2,
    'range of the gradient, Eq. 4': lambda log: log.ranges('distances'),
    'range of the gradient over the length': lambda log: log.ranges('distances') / log.gradient_norm,
    'effective beta-smoothness': lambda log: log.ranges('smoothness'),
}
CURVATURE: dict[str, Callable[[CurvatureLog], np.ndarray]] = {
    'largest eigenvalue of the Hessian': lambda log: log.largest,
    'trace of the Hessian': lambda log: log.column('trace'),
}
WORDS = {HOLDS: 'larger', REVERSED: 'smaller', OPEN: OPEN, FEW: FEW, MISSING: 'no equal losses'}


class Course(NamedTuple):
    """A quantity along a training, at n of its steps.

    Attributes:
        steps (np.ndarray): (n,), ascending.
        loss (np.ndarray): (n,): the loss of the images that it was measured on.
        values (np.ndarray): (n,)
    """
    steps: np.ndarray
    loss: np.ndarray
    values: np.ndarray


class Ratio(NamedTuple):
    """A quantity of GCP over that of GAP; estimates are of logarithms.

    Attributes:
        network (str): Its title.
        over (str): The pooling that GCP is compared with.
        place (str): Where the step is taken.
        quantity (str): What is compared.
        untrained (float): The logarithm before the first step, mean over the seeds.
        same_step (Estimate): At equal iterations after the first measurement.
        same_loss (Estimate): At equal loss.
        verdicts (tuple[tuple[str, float], tuple[str, float]]): Of both: a word of :data:`WORDS` and the corrected
            p-value.
    """
    network: str
    over: str
    place: str
    quantity: str
    untrained: float
    same_step: Estimate
    same_loss: Estimate
    verdicts: tuple = ()


def course(log: LandscapeLog, quantity: str) -> Course:
    """A quantity of :data:`LANDSCAPE` along a training, NaN where loss or gradient overflow at a step size."""
    values = LANDSCAPE[quantity](log)
    return Course(log.iters, log.loss, np.where(log.finite.all(axis=1), values, np.nan))


def ratios(measured: Measured) -> list[Ratio]:
    """Compare GCP and GAP by all notions, the verdicts corrected for the number of all comparisons."""
    found = [_ratio(NETWORKS[network], base.pooling_title(network), place, quantity, mine, its)
             for network in measured.networks for base in BASES
             for place, quantity, mine, its in _courses(measured, network, base)]
    found = [ratio for ratio in found if ratio.same_step.seeds]
    effects = [effect for ratio in found for effect in (ratio.same_step, ratio.same_loss)]
    words = [(WORDS[word], p) for word, p in judge(effects, [True] * len(effects))]
    return [ratio._replace(verdicts=pair) for ratio, pair in
            zip(found, zip(words[::2], words[1::2], strict=True), strict=True)]


def at_equal_steps(mine: Course, its: Course) -> tuple[np.ndarray, np.ndarray]:
    """Steps at which both courses have a positive value, (m,), and the logarithms of the ratios there, (m,)."""
    mine, its = positive(mine), positive(its)
    steps, first, second = np.intersect1d(mine.steps, its.steps, return_indices=True)
    return steps, np.log(mine.values[first] / its.values[second])


def at_equal_loss(mine: Course, its: Course) -> np.ndarray:
    """Logarithms of the ratios at all losses of both courses that lie in the range of the other one, (m,).

    Between its measurements, in the order of their losses, the logarithm of a course is interpolated linearly in that
    of the loss. The untrained networks, step 0, are left out.
    """
    curves = []
    for course in (mine, its):
        steps, loss, values = positive(course)
        order = np.argsort(loss[steps > 0], kind='stable')
        curves.append((np.log(loss[steps > 0][order]), np.log(values[steps > 0][order])))
    (first, _), (second, _) = curves
    if not len(first) or not len(second):
        return np.empty(0)
    losses = np.concatenate([first, second])
    losses = losses[(losses >= max(first[0], second[0])) & (losses <= min(first[-1], second[-1]))]
    return np.interp(losses, *curves[0]) - np.interp(losses, *curves[1])


def _ratio(network, over, place, quantity, mine, its):
    untrained, steps, losses = [], [], []
    for seed in sorted(mine.keys() & its.keys()):
        at, same_step = at_equal_steps(mine[seed], its[seed])
        same_loss = at_equal_loss(mine[seed], its[seed])
        for values, means in ((same_step[at == 0], untrained), (same_step[at > 0], steps), (same_loss, losses)):
            means.extend(values.mean(keepdims=True) if len(values) else [])
    return Ratio(network, over, place, quantity, fmean(untrained) if untrained else float('nan'), estimate(steps),
                 estimate(losses))


def _courses(measured, network, base):
    """Place, quantity, and the courses of GCP and of what it is compared with by seed."""
    names = [variant.name(network) for variant in (GCP, base)]
    for at, place in PLACES.items():
        both = [measured.landscapes(name, at) for name in names]
        sizes = {(tuple(log.step_sizes), log.images, log.direction) for logs in both for log in logs.values()}
        if len(sizes) > 1:
            raise ValueError(f'the landscapes at {at} of {" and ".join(names)} have different steps or batches')
        for quantity in LANDSCAPE:
            yield place, quantity, *({seed: course(log, quantity) for seed, log in logs.items()} for logs in both)
    both = [measured.curvatures(name) for name in names]
    for quantity, of in CURVATURE.items():
        if any((of(log) < 0).any() for logs in both for log in logs.values()):
            continue  # signs that differ have no ratio
        yield 'weights', quantity, *(
            {seed: Course(log.column('step'), log.column('loss'), of(log)) for seed, log in logs.items()}
            for logs in both)


def positive(course: Course) -> Course:
    """The steps at which a course has a logarithm."""
    keep = np.isfinite(course.values) & (course.values > 0) & (course.loss > 0)
    return Course(*(values[keep] for values in course))
