"""Corruptions of ImageNet-C: values, seeds, and what is refused."""
import colorsys
import io
import itertools
import sys
import types
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import correlate, gaussian_filter

from mmgcp.datasets.corruptions import check_corruption, corrupt_image, image_key, image_seed
from mmgcp.robustness.corruptions import CORRUPTIONS, EXTRA_CORRUPTIONS
from mmgcp.utils.errors import SetupError

pytest.importorskip('imagecorruptions')
GREY = np.full((64, 64, 3), 128, np.uint8)


@pytest.fixture(scope='module')
def photo() -> np.ndarray:
    """Smooth colours with an edge: (64, 80, 3), its sides unequal."""
    y, x = np.mgrid[:64, :80]
    image = np.stack([40 + 2 * x, 30 + 3 * y, 200 - x - y], axis=-1)
    image[20:40, 30:60] //= 2
    return image.astype(np.uint8)


@pytest.mark.parametrize('corruption', [*CORRUPTIONS, *EXTRA_CORRUPTIONS])
def test_seed_alone_decides(photo, corruption):
    np.random.seed(5)
    before, original = np.random.get_state()[1].copy(), photo.copy()
    first = corrupt_image(photo, corruption, 2, seed=7)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    np.random.seed(6)
    np.testing.assert_array_equal(corrupt_image(photo, corruption, 2, seed=7), first)
    np.testing.assert_array_equal(photo, original)
    assert first.shape == photo.shape and first.dtype == np.uint8
    assert (first != photo).mean() > 0.01
    drawn = {'gaussian_noise', 'shot_noise', 'impulse_noise', 'glass_blur', 'motion_blur', 'snow', 'frost', 'fog',
             'elastic_transform', 'speckle_noise', 'spatter'}
    other = corrupt_image(photo, corruption, 2, seed=8)
    assert (other != first).any() == (corruption in drawn)


def changes(image, corruption, severity, number=8):
    """Corrupted images in [0, 1], by seeds."""
    return np.stack([corrupt_image(image, corruption, severity, seed) for seed in range(number)]) / 255


@pytest.mark.parametrize('severity, sigma, photons, share', zip(
    range(1, 6), (0.08, 0.12, 0.18, 0.26, 0.38), (60, 25, 12, 5, 3), (0.03, 0.06, 0.09, 0.17, 0.27), strict=True))
def test_noise_has_the_published_distribution(severity, sigma, photons, share):
    rng, grey = np.random.default_rng(0), 128 / 255
    expected = np.floor(255 * np.clip(grey + sigma * rng.standard_normal(10**6), 0, 1)) / 255
    found = changes(GREY, 'gaussian_noise', severity)
    assert found.std() == pytest.approx(expected.std(), rel=0.01)
    assert found.mean() == pytest.approx(expected.mean(), abs=0.003)
    expected = np.floor(255 * np.clip(rng.poisson(grey * photons, 10**6) / photons, 0, 1)) / 255
    found = changes(GREY, 'shot_noise', severity)
    assert found.std() == pytest.approx(expected.std(), rel=0.01)
    assert found.mean() == pytest.approx(expected.mean(), abs=0.003)
    found = changes(GREY, 'impulse_noise', severity)
    assert [(found == value).mean() for value in (0, 1)] == pytest.approx([share / 2] * 2, rel=0.05)
    assert np.isin(found, [0, grey, 1]).all()


@pytest.mark.parametrize('severity, radius, softness', [
    (1, 3, 0.1), (2, 4, 0.5), (3, 6, 0.5), (4, 8, 0.5), (5, 10, 0.5)])
def test_defocus_is_a_blur_by_a_soft_disc(photo, severity, radius, softness):
    half = max(8, radius)
    y, x = np.mgrid[-half:half + 1, -half:half + 1]
    disc = (x**2 + y**2 <= radius**2).astype(float)
    disc = cv2.GaussianBlur(disc / disc.sum(), (3, 3) if radius <= 8 else (5, 5), softness)
    expected = np.stack([correlate(photo[..., channel].astype(float), disc, mode='mirror') for channel in range(3)], -1)
    np.testing.assert_allclose(corrupt_image(photo, 'defocus_blur', severity, 0), expected, atol=1.01)


@pytest.mark.parametrize('severity, sigma, reach, rounds', [
    (1, 0.7, 1, 2), (2, 0.9, 2, 1), (3, 1., 2, 3), (4, 1.1, 3, 2), (5, 1.5, 4, 2)])
def test_glass_copies_neighbours_between_two_blurs(photo, severity, sigma, reach, rounds):
    """The published generator swaps views of an array, which copies one pixel over the other."""
    rng, expected = np.random.default_rng(0), []
    for _ in range(8):
        glass = np.uint8(255 * gaussian_filter(photo / 255, (sigma, sigma, 0), mode='nearest'))
        rows, columns = (range(size - reach, reach, -1) for size in photo.shape[:2])
        for _, row, column in itertools.product(range(rounds), rows, columns):
            glass[row, column] = glass[row + rng.integers(-reach, reach), column + rng.integers(-reach, reach)]
        expected.append(np.uint8(255 * gaussian_filter(glass / 255, (sigma, sigma, 0), mode='nearest')) / 255)
    changed, expected = (np.abs(images - photo / 255).mean() for images in (
        changes(photo, 'glass_blur', severity), expected))
    assert changed == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize('severity, depth', [(1, 1.5), (2, 2.), (3, 2.5), (4, 2.5), (5, 3.)])
def test_fog_is_laid_over_the_image_and_takes_its_contrast(photo, severity, depth):
    square = photo[:, :64]
    brightest = square.max() / 255
    fog = changes(square, 'fog', severity, 1)[0] * (brightest + depth) / brightest - square / 255
    assert np.ptp(fog, axis=2).max() < 0.04  # rounded by 1/255, times (brightest + depth) / brightest
    assert [fog.min(), fog.max()] == pytest.approx([0, depth], abs=0.04)


@pytest.mark.parametrize('severity, factor', [(1, 0.4), (2, 0.3), (3, 0.2), (4, 0.1), (5, 0.05)])
def test_contrast_shrinks_towards_the_mean(photo, severity, factor):
    mean = photo.mean(axis=(0, 1))
    np.testing.assert_allclose(corrupt_image(photo, 'contrast', severity, 0), (photo - mean) * factor + mean, atol=1)


@pytest.mark.parametrize('severity, quality', [(1, 25), (2, 18), (3, 15), (4, 10), (5, 7)])
def test_jpeg_has_the_published_quality(photo, severity, quality):
    file = io.BytesIO()
    Image.fromarray(photo).save(file, 'JPEG', quality=quality)
    np.testing.assert_array_equal(corrupt_image(photo, 'jpeg_compression', severity, 0), Image.open(file))


@pytest.mark.parametrize('severity', [1, 2, 3, 4, 5])
def test_brightness_raises_the_value_of_hsv(photo, severity):
    def brighter(color):
        hue, saturation, value = colorsys.rgb_to_hsv(*color / 255)
        return 255 * np.array(colorsys.hsv_to_rgb(hue, saturation, min(value + severity / 10, 1)))

    np.testing.assert_allclose(corrupt_image(photo, 'brightness', severity, 0), np.apply_along_axis(brighter, 2, photo),
                               atol=1.01)


@pytest.mark.parametrize('corruption', ['gaussian_noise', 'shot_noise', 'impulse_noise', 'speckle_noise'])
def test_noise_grows_with_severity(photo, corruption):
    distances = [np.abs(corrupt_image(photo, corruption, severity, 0) - photo.astype(float)).mean()
                 for severity in range(1, 6)]
    assert all(np.diff(distances) > 0)


def test_spatter_without_a_drop_leaves_the_image():
    """At 32 pixels a side no drop falls for some seeds, and the library divides 0 by 0."""
    grey = GREY[:32, :32]
    images = [corrupt_image(grey, 'spatter', 1, seed) for seed in range(100)]
    assert any((image == grey).all() for image in images)
    assert all(image.min() > 0 for image in images)


def test_image_seed():
    assert image_seed(3, 'fog', 2, 'n01/val_1') == zlib.crc32(b'3/fog/2/n01/val_1')
    parts = [(0, 'fog', 1, 'a/b'), (1, 'fog', 1, 'a/b'), (0, 'snow', 1, 'a/b'), (0, 'fog', 2, 'a/b'),
             (0, 'fog', 1, 'a/c')]
    assert len({image_seed(*part) for part in parts}) == len(parts)
    assert image_seed(0, 'caf\udce9') == zlib.crc32(b'0/caf\xe9')  # as Python names a file that is not UTF-8
    assert image_key('/data/val/n01/val_1.JPEG') == image_key('n01/val_1.png') == 'n01/val_1'


@pytest.mark.parametrize('image, told', [
    (GREY[:31], r'at least 32 pixels a side, but has 64 x 31'),
    (GREY / 255, r'must be uint8 of shape \(H, W, 3\), but is float64'),
    (GREY[..., 0], r'of shape \(64, 64\)'),
])
def test_unfit_images_are_refused(image, told):
    with pytest.raises(SetupError, match=told):
        corrupt_image(image, 'fog', 1, 0)


def test_unknown_corruptions_are_refused():
    with pytest.raises(SetupError, match="there is no corruption 'mist': choose from gaussian_noise, .* saturate"):
        check_corruption('mist', 1)
    for severity in (0, 6, 2.0, True):
        with pytest.raises(SetupError, match=f'severity={severity} of fog must be an integer from 1 to 5'):
            check_corruption('fog', severity)


def test_missing_library_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, 'imagecorruptions', None)
    with pytest.raises(SetupError, match='pip install imagecorruptions-imaug'):
        corrupt_image(GREY, 'fog', 1, 0)


def test_older_library_of_the_same_name_is_told(monkeypatch):
    old = types.ModuleType('imagecorruptions')
    old.corrupt = None
    old.corruptions = types.SimpleNamespace(impulse_noise=lambda x, severity: x, glass_blur=lambda x, severity: x)
    monkeypatch.setitem(sys.modules, 'imagecorruptions', old)
    with pytest.raises(SetupError, match='cannot be seeded.*pip uninstall imagecorruptions, then'):
        corrupt_image(GREY, 'fog', 1, 0)
