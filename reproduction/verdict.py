"""The verdict on a claim: one level for all comparisons of a page, corrected for their number."""
import math
from collections.abc import Sequence

from .effects import LEVEL, Estimate, holm

MARGIN = 1.  # point of accuracy; the paper's gains over GAP are 1.5 (ResNet-101) to 4.4 (ResNet-18; Table 2)
HOLDS, REVERSED, SMALL, OPEN = 'holds', 'does not hold', f'no gain of {MARGIN:g} point', 'cannot be told'
FEW, UNSAMPLED, MISSING = 'too few seeds', 'no outcomes by photo', 'not measured'
WORDS = (HOLDS, REVERSED, SMALL, OPEN, FEW, UNSAMPLED, MISSING)
SEEDS = 3  # that a comparison needs


def judge(estimates: Sequence[Estimate], sampled: Sequence[bool]) -> list[tuple[str, float]]:
    """Judge the comparisons of a page together.

    A claim holds where the effect differs from 0 in its direction, and does not hold where it differs in the other one,
    both at :data:`~reproduction.effects.LEVEL` for the whole page. Where neither is so, those that have a margin are
    tested for an effect below it, one-sided and at the same level for all of these. Comparisons with fewer than
    :data:`SEEDS` seeds, or whose sampling error by the test photos is missing, are not tested and do not count in the
    correction.

    Args:
        estimates (Sequence[Estimate]): The effects.
        sampled (Sequence[bool]): Of each, whether its sampling error is known.

    Returns:
        list[tuple[str, float]]: One of :data:`WORDS`, and the corrected p-value of the test that it comes from, NaN
        where nothing was tested.
    """
    words = [_untested(effect, known) for effect, known in zip(estimates, sampled, strict=True)]
    tested = [effect for effect, word in zip(estimates, words, strict=True) if not word]
    adjusted = iter(holm([effect.p for effect in tested]).tolist())
    below = iter(holm([effect.below for effect in tested if not math.isnan(effect.below)]).tolist())
    return [(word, math.nan) if word else _tested(
        effect, next(adjusted), math.nan if math.isnan(effect.below) else next(below))
            for effect, word in zip(estimates, words, strict=True)]


def _untested(effect, sampled):
    if not effect.seeds:
        return MISSING
    if not sampled:
        return UNSAMPLED
    return FEW if effect.seeds < SEEDS else ''


def _tested(effect, p, below):
    if p < LEVEL:
        return (HOLDS if effect.mean > 0 else REVERSED), p
    return (SMALL, below) if below < LEVEL else (OPEN, p)
