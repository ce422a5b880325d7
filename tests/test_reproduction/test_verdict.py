import math

import pytest

from reproduction.verdict import HOLDS, MISSING, OPEN, REVERSED, judge, sampling_error


@pytest.mark.parametrize('differences, noise, word', [
    ([4, 5], 0, HOLDS),        # standard error 0.5
    ([-4, -5], 0, REVERSED),
    ([1, 5], 0, OPEN),         # mean 3, standard error 2
    ([4, 5], 3, OPEN),         # mean 4.5, standard error 3.04
    ([4, 5], 2, HOLDS),        # standard error 2.06
    ([8, 9, -0.1, 9, 9, 9, 9, 9], 0, OPEN),  # one seed says otherwise
    ([4], 0, OPEN),            # one seed is none
    ([0, 0], 0, OPEN),
    ([], 0, MISSING),
    ([4, 5], None, OPEN),      # of two seeds, where nothing is known of the test
    ([4, 5, 4], None, HOLDS),
])
def test_words(differences, noise, word):
    assert judge(dict(enumerate(differences)), noise).word == word


def test_numbers():
    verdict = judge({0: 1., 3: 3.}, noise=1.)
    assert verdict.mean == 2 and verdict.seeds == 2
    assert verdict.error == pytest.approx(math.sqrt(1 + 1))  # sqrt(2) / sqrt(2) of the seeds, and the noise
    assert judge({0: 1.}).error == math.inf


def test_sampling_error_is_binomial():
    """Half of 100 photos right: a standard deviation of 5 points; of a difference of two, root two times that."""
    assert sampling_error([50], 100) == pytest.approx(5)
    assert sampling_error([50, 50], 100) == pytest.approx(5 * math.sqrt(2))
    assert sampling_error([50], 0) == 0
