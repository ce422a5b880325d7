"""The transform that corrupts images while they are read."""
import numpy as np
import pytest

import mmgcp.datasets.transforms  # noqa: F401  registers
from mmgcp.datasets.corruptions import corrupt_image, image_seed
from mmgcp.registry import TRANSFORMS
from mmgcp.utils.errors import SetupError

pytest.importorskip('imagecorruptions')


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)


# JPEG tells RGB from BGR; the two in the middle have seeds of their own in the library.
@pytest.mark.parametrize('corruption', ['jpeg_compression', 'glass_blur', 'impulse_noise', 'gaussian_noise'])
def test_equals_corrupt_image_in_rgb(image, corruption):
    transform = TRANSFORMS.build(dict(type='mmgcp.Corrupt', corruption=corruption, severity=3, seed=4))
    results = transform(dict(img=image[..., ::-1].copy(), img_path='/data/val/n01/photo.JPEG', gt_label=2))
    expected = corrupt_image(image, corruption, 3, image_seed(4, corruption, 3, 'n01/photo'))
    np.testing.assert_array_equal(results['img'][..., ::-1], expected)
    assert results['img'].flags.c_contiguous
    assert (results['corruption'], results['severity'], results['gt_label']) == (corruption, 3, 2)


def test_noise_differs_between_images(image):
    transform = TRANSFORMS.build(dict(type='mmgcp.Corrupt', corruption='gaussian_noise', severity=1))
    first, second, again = (transform(dict(img=image.copy(), img_path=path))['img'] for path in ('a/1', 'a/2', 'a/1'))
    assert (first != second).mean() > 0.5
    np.testing.assert_array_equal(first, again)


def test_tags_reach_the_sample(image):
    corrupt = TRANSFORMS.build(dict(type='mmgcp.Corrupt', corruption='contrast', severity=5))
    pack = TRANSFORMS.build(dict(type='mmpretrain.PackInputs', meta_keys=('corruption', 'severity')))
    sample = pack(corrupt(dict(img=image, img_path='a/1', gt_label=0)))['data_samples']
    assert (sample.corruption, sample.severity) == ('contrast', 5)


def test_mistakes_are_told(image):
    with pytest.raises(SetupError, match="there is no corruption 'mist'"):
        TRANSFORMS.build(dict(type='mmgcp.Corrupt', corruption='mist', severity=1))
    transform = TRANSFORMS.build(dict(type='mmgcp.Corrupt', corruption='contrast', severity=1))
    with pytest.raises(SetupError, match=r"results\['img_path'\], which is missing"):
        transform(dict(img=image))
    with pytest.raises(SetupError, match='must be uint8 .* float32'):
        transform(dict(img=image.astype(np.float32), img_path='a/1'))
    assert repr(transform) == "Corrupt(corruption='contrast', severity=1, seed=0)"
