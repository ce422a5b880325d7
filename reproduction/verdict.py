"""Whether a claim holds, by differences between trainings that were measured with several seeds."""
import math
from collections.abc import Mapping
from statistics import fmean, stdev
from typing import NamedTuple

HOLDS, REVERSED, OPEN, MISSING = 'holds', 'does not hold', 'cannot be told at this scale', 'not measured'


class Verdict(NamedTuple):
    """What measured differences say of a claim.

    Attributes:
        word (str): One of the four words above.
        mean (float): Mean difference over the seeds, positive where the claim says so; NaN if there is none.
        error (float): Its standard error; infinite with one seed.
        seeds (int): Number of seeds.
    """
    word: str
    mean: float
    error: float
    seeds: int


def judge(differences: Mapping[int, float], noise: float | None = None) -> Verdict:
    """Judge a claim.

    It holds where the difference has its sign for every seed, and their mean is at least twice its standard error; it
    does not hold where the same is true of the opposite sign; otherwise it cannot be told. The standard error counts
    the spread over the seeds and the sampling error of the test. This needs two seeds, or three where the sampling
    error is not known.

    Args:
        differences (Mapping[int, float]): Difference by seed, positive where it speaks for the claim.
        noise (float, optional): Standard error that all seeds share, because they share the test images; None where it
            is not known.
    """
    values = [round(value, 9) for value in differences.values()]  # what is equal but for rounding has no sign
    if not values:
        return Verdict(MISSING, math.nan, math.nan, 0)
    mean = fmean(values)
    error = math.hypot(stdev(values) / math.sqrt(len(values)), noise or 0.) if len(values) > 1 else math.inf
    clear = abs(mean) >= 2 * error and len(values) >= (2 if noise is not None else 3)
    word = OPEN
    if clear and min(values) > 0:
        word = HOLDS
    elif clear and max(values) < 0:
        word = REVERSED
    return Verdict(word, mean, error, len(values))


def sampling_error(accuracies: list[float], images: int) -> float:
    """Standard error of a sum or difference of accuracies by the finite number of test images, taken as independent.

    Args:
        accuracies (list[float]): In %.
        images (int): Test images; 0 for an error of 0.

    Returns:
        float: In percentage points. An upper bound for networks that err on the same images.
    """
    if not images:
        return 0.
    return math.sqrt(sum(value * (100 - value) for value in accuracies) / images)
