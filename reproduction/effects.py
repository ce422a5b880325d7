"""Effects with confidence intervals and p-values, from trainings with a few seeds that share their test photos."""
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri, stdtrit

LEVEL = 0.05  # two-sided


class Estimate(NamedTuple):
    """A mean difference over seeds.

    Attributes:
        mean (float): The mean, positive where it speaks for the claim; NaN if there is none.
        low (float): Lower end of its confidence interval at :data:`LEVEL`.
        high (float): Upper end.
        p (float): Two-sided p-value, before any correction.
        seeds (int): Number of seeds.
        below (float): One-sided p-value of the hypothesis that the true difference is at least a margin, before any
            correction; NaN without a margin.
    """
    mean: float
    low: float
    high: float
    p: float
    seeds: int
    below: float = math.nan


def estimate(differences: Sequence[float], noise: float = 0., photos: float = math.inf,
             margin: float = math.nan) -> Estimate:
    """Estimate an effect from its differences by seed, see :func:`half_width`.

    Args:
        differences (Sequence[float]): Difference of each seed, positive where it speaks for the claim.
        noise (float): Standard error that all seeds share, because they share the test photos.
        photos (float): Number of photos that the standard error comes from.
        margin (float): Smallest effect of interest; NaN for none.

    Returns:
        Estimate: The effect. Where no error is known, as with one seed, the interval is infinite and p is 1.
    """
    seeds = len(differences)
    if not seeds:
        return Estimate(math.nan, math.nan, math.nan, math.nan, 0)
    differences = np.round(differences, 9)  # what is equal but for rounding has no sign
    mean = float(np.mean(differences))
    error = float(np.std(differences, ddof=1)) / math.sqrt(seeds) if seeds > 1 else math.inf
    if not 0 < math.hypot(error, noise) < math.inf:
        return Estimate(mean, -math.inf, math.inf, 1., seeds)
    half = float(half_width(LEVEL, error, seeds, noise, photos))
    below = math.nan if math.isnan(margin) else float(p_below(mean - margin, error, seeds, noise, photos))
    return Estimate(mean, mean - half, mean + half, float(p_value(mean, error, seeds, noise, photos)), seeds, below)


def half_width(level: ArrayLike, error: ArrayLike, seeds: int, noise: ArrayLike = 0.,
               photos: float = math.inf) -> np.ndarray:
    """Half the width of the confidence interval of a mean with two independent errors.

    Each error counts with the t quantile of its own degrees of freedom, and their squares are added; the interval then
    covers the true mean with at least the stated probability (Banerjee, Sankhya 1961).

    Args:
        level (ArrayLike): Probability, in both tails, of not covering it.
        error (ArrayLike): Standard error by the spread over the seeds.
        seeds (int): Number of seeds, at least 2.
        noise (ArrayLike): Standard error by the choice of the photos.
        photos (float): Number of photos that it comes from.
    """
    by_photos = ndtri(np.divide(level, 2)) if math.isinf(photos) else stdtrit(photos - 1, np.divide(level, 2))
    return np.hypot(stdtrit(seeds - 1, np.divide(level, 2)) * error, by_photos * noise)


def p_value(mean: ArrayLike, error: ArrayLike, seeds: int, noise: ArrayLike = 0.,
            photos: float = math.inf) -> np.ndarray:
    """The level at which the interval of :func:`half_width` ends at 0, to 1e-15; arguments are as there."""
    low, high = np.broadcast_arrays(np.log(1e-15), np.multiply(mean, 0.))  # logarithms of the level
    for _ in range(60):
        middle = (low + high) / 2
        covers = half_width(np.exp(middle), error, seeds, noise, photos) >= np.abs(mean)
        low, high = np.where(covers, middle, low), np.where(covers, high, middle)
    return np.exp(high)


def p_below(mean: ArrayLike, error: ArrayLike, seeds: int, noise: ArrayLike = 0.,
            photos: float = math.inf) -> np.ndarray:
    """One-sided p-value of the hypothesis that the true mean is not negative; arguments are those of half_width."""
    half = p_value(mean, error, seeds, noise, photos) / 2
    return np.where(np.less(mean, 0), half, 1 - half)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Correct p-values for their number (Holm, 1979): at a level, they reject a true hypothesis at all that rarely.

    Args:
        p_values (ArrayLike): (..., n), corrected along the last axis.
    """
    p_values = np.asarray(p_values, float)
    order = np.argsort(p_values, -1)
    steps = np.take_along_axis(p_values, order, -1) * np.arange(p_values.shape[-1], 0, -1)
    adjusted = np.empty_like(p_values)
    np.put_along_axis(adjusted, order, np.minimum(np.maximum.accumulate(steps, -1), 1), -1)
    return adjusted


def sampling_error(accuracies: Sequence[float], images: int) -> float:
    """Standard error of a sum or difference of accuracies by the finite number of test photos, taken as independent.

    An upper bound for networks that err on the same photos. Two photos more are counted as right and two as wrong
    (Agresti & Coull, 1998), so that it is positive for an accuracy of 100 % too.

    Args:
        accuracies (Sequence[float]): In %.
        images (int): Test photos, at least 1.

    Returns:
        float: In percentage points.
    """
    shares = ((value / 100 * images + 2) / (images + 4) for value in accuracies)
    return 100 * math.sqrt(sum(share * (1 - share) for share in shares) / (images + 4))


def photo_error(differences: np.ndarray) -> float:
    """Standard error of the mean of differences by photo; infinite for a single photo."""
    count = len(differences)
    return float(np.std(differences, ddof=1)) / math.sqrt(count) if count > 1 else math.inf
