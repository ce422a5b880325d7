import math

import pytest

from reproduction.effects import estimate
from reproduction.verdict import FEW, HOLDS, MISSING, OPEN, REVERSED, UNSAMPLED, judge


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
