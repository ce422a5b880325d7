import math

import numpy as np
import pytest
from scipy.special import stdtr

from reproduction.effects import estimate
from reproduction.verdict import FEW, HOLDS, MARGIN, MISSING, OPEN, REVERSED, SMALL, UNSAMPLED, judge


@pytest.mark.parametrize('differences, noise, word', [
    ([4, 5, 4.5], 0.5, HOLDS),
    ([-4, -5, -4.5], 0.5, REVERSED),
    ([4, 5, 4.5], 3, OPEN),
    ([1, 5, 9], 0, OPEN),
    ([4, 5], 0.1, FEW),
    ([4, 4], 0, FEW),
    ([4], 0.1, FEW),
    ([4, 4, 4], 0, OPEN),  # no known error
    ([0, 0, 0], 0, OPEN),
    ([], 0, MISSING),
])
def test_words(differences, noise, word):
    (found, p), = judge([estimate(differences, noise)], [True])
    assert found == word and math.isnan(p) == (word in (FEW, MISSING))


@pytest.mark.parametrize('differences, word', [
    ([0.1, -0.1, 0.05], SMALL),
    ([0.1, -0.1, 0.05, 3], OPEN),
    ([0.95, 1.05, 1.02], HOLDS),  # whatever its size
    ([0.5, 0.52, 0.51], HOLDS),
    ([-0.5, -0.52, -0.51], REVERSED),
    ([-0.5, -1.5, 0.1], SMALL),
    ([-0.5, -3, 0.1], OPEN),
    ([0.1, -0.1], FEW),
    ([0, 0, 0], OPEN),  # no known error
])
def test_effect_below_the_margin(differences, word):
    assert judge([estimate(differences, margin=MARGIN)], [True])[0][0] == word
    assert judge([estimate(differences)], [True])[0][0] == (OPEN if word == SMALL else word)


def test_effects_below_the_margin_are_corrected_among_those_that_have_one():
    null, far = estimate([0.1, -0.1, 0.05], margin=1), estimate([5, 1, 9], margin=1)
    alone, = judge([null], [True])
    assert alone[1] == pytest.approx(stdtr(2, (0.05 / 3 - 1) / (np.std([0.1, -0.1, 0.05], ddof=1) / 3 ** 0.5)))
    assert judge([null, *4 * [far]], 5 * [True])[0] == (SMALL, pytest.approx(5 * alone[1]))
    assert judge([null, *40 * [estimate([5, 1, 9])]], 41 * [True])[0] == alone
    assert judge([null, *40 * [far]], 41 * [True])[0][0] == OPEN


def test_comparisons_whose_photos_are_unknown_are_not_tested():
    (word, p), = judge([estimate([4, 5, 4.5], 0.)], [False])
    assert word == UNSAMPLED and math.isnan(p)
    assert judge([estimate([])], [False])[0][0] == MISSING


def test_corrected_for_the_comparisons_of_the_page():
    """p = 0.0041 alone; eleven others, of which only those that are tested count, make it 12 times that."""
    clear, null = estimate([4, 5, 4.5]), estimate([1, -1, 0.1])
    assert judge([clear], [True])[0][0] == HOLDS
    assert [word for word, _ in judge([clear] + 12 * [null], 13 * [True])] == 13 * [OPEN]
    assert judge([clear] + 12 * [estimate([4, 5])], 13 * [True])[0] == judge([clear], [True])[0]
