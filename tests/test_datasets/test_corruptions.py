"""Corruptions of ImageNet-C: values, seeds, and what is refused."""
import sys
import types
import zlib

import numpy as np
import pytest

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


@pytest.mark.parametrize('severity, sigma', [(1, 0.08), (2, 0.12)])
def test_gaussian_noise_has_its_standard_deviation(severity, sigma):
    noise = corrupt_image(GREY, 'gaussian_noise', severity, seed=0) / 255
    assert noise.std() == pytest.approx(sigma, rel=0.03)
    assert noise.mean() == pytest.approx(128 / 255, abs=0.005)


@pytest.mark.parametrize('severity, factor', [(1, 0.4), (3, 0.2), (5, 0.05)])
def test_contrast_shrinks_towards_the_mean(photo, severity, factor):
    mean = photo.mean(axis=(0, 1))
    np.testing.assert_allclose(corrupt_image(photo, 'contrast', severity, 0), (photo - mean) * factor + mean, atol=1)


@pytest.mark.parametrize('severity', [1, 3])
def test_brightness_adds_a_tenth_per_severity(severity):
    np.testing.assert_allclose(corrupt_image(GREY, 'brightness', severity, 0), 128 + 25.5 * severity, atol=1)


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
