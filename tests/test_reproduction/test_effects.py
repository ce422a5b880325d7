import math

import numpy as np
import pytest

from reproduction.effects import LEVEL, estimate, half_width, holm, p_below, p_value, photo_error, sampling_error
from reproduction.verdict import SEEDS


def test_t_interval():
    """Three seeds: 4.303 times the standard error, 1 / sqrt(3) here."""
    effect = estimate([1., 2., 3.])
    assert (effect.mean, effect.seeds) == (2, 3)
    assert effect.high - effect.mean == pytest.approx(4.30265 / math.sqrt(3), rel=1e-5)
    assert effect.p == pytest.approx(0.0742, abs=1e-4)  # t = 3.464, 2 degrees of freedom


def test_interval_with_both_errors():
    """Squares of 4.303 times the error by the seeds and 1.96 (99 photos: 1.984) times that by the photos are added."""
    effect = estimate([1., 2., 3.], noise=0.5)
    assert effect.mean - effect.low == pytest.approx(math.hypot(4.30265 / math.sqrt(3), 0.5 * 1.959964), rel=1e-5)
    assert half_width(LEVEL, 0., 3, 1., 99) == pytest.approx(1.98447, rel=1e-5)
    assert half_width(estimate([1., 2., 3.], 0.5).p, 1 / math.sqrt(3), 3, 0.5) == pytest.approx(2)


@pytest.mark.parametrize('differences', [[4.], [4., 4.], [4., 4., 4.]])
def test_no_known_error_tells_nothing(differences):
    """Of one seed, and of several that agree to the last digit: a standard error of 0 is none."""
    effect = estimate(differences)
    assert (effect.mean, effect.low, effect.high, effect.p) == (4, -math.inf, math.inf, 1)


def test_nothing_measured():
    assert estimate([]).seeds == 0 and math.isnan(estimate([]).mean)


def test_holm():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([[0.6, 0.9], [0.01, 0.5]]), [[1, 1], [0.02, 0.5]])
    assert len(holm([])) == 0


def test_sampling_error_is_binomial():
    """Half of 10,000 photos right: half a point; of a difference of two, root two times that."""
    assert sampling_error([50], 10000) == pytest.approx(0.5, rel=1e-3)
    assert sampling_error([50, 50], 10000) == pytest.approx(0.5 * math.sqrt(2), rel=1e-3)
    assert 0 < sampling_error([100], 10000) < 0.03  # an accuracy of 100 % is not certain


def test_paired_error():
    assert photo_error(np.array([1., -1.])) == pytest.approx(1)
    assert photo_error(np.array([1.])) == math.inf


@pytest.mark.parametrize('seeds', [SEEDS, 5])
@pytest.mark.parametrize('photos', [math.inf, 20])
def test_pages_without_effects_find_one_as_rarely_as_stated(seeds, photos):
    """Of 4,000 pages with 12 comparisons each, in which nothing differs, 5 % or fewer find a difference.

    Some comparisons vary by the seeds alone, others by the photos alone. Errors by the photos are estimated from that
    many photos, and in part shared by the comparisons of a page.
    """
    rng = np.random.default_rng(seeds)
    pages, comparisons = 4000, 12
    by_photos = np.geomspace(0.01, 100, comparisons)
    shared = by_photos * (0.6 * rng.standard_normal((pages, 1)) + 0.8 * rng.standard_normal((pages, comparisons)))
    values = shared[..., None] + rng.standard_normal((pages, comparisons, seeds))
    estimated = by_photos if math.isinf(photos) else by_photos * np.sqrt(
        rng.chisquare(photos - 1, (pages, comparisons)) / (photos - 1))
    mean, error = values.mean(-1), values.std(-1, ddof=1) / math.sqrt(seeds)
    found = holm(p_value(mean, error, seeds, estimated, photos)) < LEVEL
    rate = found.any(1).mean()
    assert 0.25 * LEVEL < rate < LEVEL + 2 * math.sqrt(LEVEL / pages)
    holds = (found & (mean > 0)).any(1).mean()
    assert holds < LEVEL / 2 + 2 * math.sqrt(LEVEL / 2 / pages)
    # If all true effects are as large as a margin, as many pages or fewer call one smaller.
    below = (holm(p_below(mean, error, seeds, estimated, photos)) < LEVEL).any(1).mean()
    assert 0.25 * LEVEL < below < LEVEL + 2 * math.sqrt(LEVEL / pages)
