"""Perturbation sequences: their steps, their seeds, and what is refused."""
import numpy as np
import pytest
from imagecorruptions.corruptions import _motion_blur
from skimage.color import hsv2rgb, rgb2hsv

from mmgcp.datasets.perturbations import STRENGTHS, perturb_image, perturbation_folder
from mmgcp.robustness.perturbations import NOISES, PERTURBATIONS
from mmgcp.utils.errors import SetupError

GREY = np.full((64, 64, 3), 128, np.uint8)


@pytest.fixture(scope='module')
def image() -> np.ndarray:
    """Smooth random colours: (48, 64, 3), its sides unequal."""
    y, x = np.mgrid[:48, :64]
    return np.stack([127 + 120 * np.sin(x / 5 + y / 9), 127 + 90 * np.cos(x / 8 - y / 4), 2 * x + 2 * y],
                    axis=-1).astype(np.uint8)


@pytest.mark.parametrize('perturbation', PERTURBATIONS)
def test_sequences(image, perturbation):
    original = image.copy()
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    frames = perturb_image(image, perturbation, seed=3)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    np.testing.assert_array_equal(image, original)
    assert len(frames) == (41 if perturbation == 'translate' else 31)
    assert all(frame.shape == image.shape and frame.dtype == np.uint8 for frame in frames)
    changes = [(one != two).any() for one, two in zip(frames, frames[1:], strict=False)]
    assert all(changes) or perturbation == 'motion_blur' and sum(changes) > 20  # whose pixels are not finer
    np.testing.assert_array_equal(frames, perturb_image(image, perturbation, seed=3))
    other = perturb_image(image, perturbation, seed=4)
    assert (np.array(other) != frames).any() == (perturbation in (*NOISES, 'snow'))


def test_strengths_are_the_published_ones():
    assert STRENGTHS['gaussian_noise'] == (0.03, 0.05, 0.08) and STRENGTHS['shot_noise'] == (300, 120, 60)


@pytest.mark.parametrize('frames', [30, 7])
@pytest.mark.parametrize('perturbation', ['brightness', 'translate', 'rotate'])
def test_middle_frame_is_the_image(image, perturbation, frames):
    np.testing.assert_array_equal(perturb_image(image, perturbation, frames)[frames // 2], image)


def test_translation_is_one_pixel_a_frame(image):
    frames = perturb_image(image, 'translate')
    for index, frame in enumerate(frames):
        shift = index - 20
        np.testing.assert_array_equal(frame[:, max(shift, 0):64 + min(shift, 0)],
                                      image[:, max(-shift, 0):64 - max(shift, 0)])
    assert not frames[23][:, :3].any()  # black beyond the image


@pytest.mark.parametrize('perturbation', PERTURBATIONS)
def test_what_moves_shows_what_is_outside_the_crop(image, perturbation):

    def crop(array):
        return array[4:44, 10:54]

    frames = perturb_image(image, perturbation, seed=2, crop=crop)
    moves = perturbation in ('zoom_blur', 'translate', 'rotate', 'tilt', 'scale')
    if moves:
        expected = [crop(frame) for frame in perturb_image(image, perturbation, seed=2)]
    else:
        expected = perturb_image(crop(image).copy(), perturbation, seed=2)
    np.testing.assert_array_equal(frames, expected)
    assert all(frame.flags.c_contiguous for frame in frames)


def test_brightness_is_the_value_of_hsv(image):
    levels = [frame.mean() for frame in perturb_image(GREY, 'brightness')]
    np.testing.assert_allclose(levels, 128 + 5.1 * np.arange(-15, 16), atol=1)
    colours = np.concatenate([image, np.zeros_like(image)])
    hsv = rgb2hsv(colours / 255)
    for step, frame in zip(range(-15, 16), perturb_image(colours, 'brightness'), strict=True):
        hue, saturation, value = hsv.transpose(2, 0, 1)
        expected = hsv2rgb(np.stack([hue, saturation, (value + 0.02 * step).clip(0, 1)], axis=-1)) * 255
        assert np.abs(frame - np.floor(expected)).max() <= 1 and np.abs(frame - expected).mean() < 1


@pytest.mark.parametrize('difficulty', [1, 2, 3])
def test_noise_is_of_one_strength_and_independent_on_all_frames_but_the_first(difficulty):
    sigma = STRENGTHS['gaussian_noise'][difficulty - 1]
    clean, *noisy = perturb_image(GREY, 'gaussian_noise', difficulty=difficulty)
    np.testing.assert_array_equal(clean, GREY)
    frames = np.array(noisy) / 255
    np.testing.assert_allclose(frames.std(axis=(1, 2, 3)), sigma, rtol=0.05)
    first, second = frames[0].ravel(), frames[1].ravel()
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05

    photons = STRENGTHS['shot_noise'][difficulty - 1]
    clean, *noisy = perturb_image(GREY, 'shot_noise', difficulty=difficulty)
    np.testing.assert_array_equal(clean, GREY)
    shots = np.array(noisy) / 255
    np.testing.assert_allclose(shots.mean(axis=(1, 2, 3)), 127.5 / 255, atol=0.005)  # fractions are cut off
    np.testing.assert_allclose(shots.std(axis=(1, 2, 3)), (128 / 255 / photons)**0.5, rtol=0.05)


def test_difficulty_changes_noise_alone(image):
    for perturbation in PERTURBATIONS:
        easy, hard = (np.array(perturb_image(image, perturbation, 3, difficulty)) for difficulty in (1, 3))
        assert (easy != hard).any() == (perturbation in NOISES)


def spot(x, y):
    """A blurred spot around (x, y) in an image of 65 x 65 pixels."""
    rows, columns = np.mgrid[:65, :65]
    level = 255 * np.exp(-((columns - x)**2 + (rows - y)**2) / 8)
    return np.repeat(level[..., None], 3, axis=2).astype(np.uint8)


def centre_of(image):
    rows, columns = np.mgrid[:65, :65]
    weights = image[..., 0] / image[..., 0].sum()
    return (weights * columns).sum(), (weights * rows).sum()


def test_rotation_is_one_degree_a_frame():
    frames = perturb_image(spot(52, 32), 'rotate')
    for index in (0, 10, 30):
        angle = np.deg2rad(index - 15)
        # Clockwise, rows counted downwards; the centre is half a pixel from that of the middle pixel.
        expected = 32.5 + 19.5 * np.cos(angle) + 0.5 * np.sin(angle), 32.5 + 19.5 * np.sin(angle) - 0.5 * np.cos(angle)
        np.testing.assert_allclose(centre_of(frames[index]), expected, atol=0.1)


def test_scale_grows_from_0_4_to_1_15():
    frames = perturb_image(spot(40, 32), 'scale')
    for index, scale in ((0, 0.4), (24, 1), (30, 1.15)):
        np.testing.assert_allclose(centre_of(frames[index]), 32.5 + scale * np.array([7.5, -0.5]), atol=0.1)
    np.testing.assert_array_equal(frames[24], spot(40, 32))
    assert not perturb_image(GREY, 'scale')[0][:15].any()  # black around the small image


def test_tilt_turns_about_both_axes():
    sine, cosine = np.sin(np.deg2rad(10)), np.cos(np.deg2rad(10))
    distance = 65 * 2**0.5
    for x, y in ((12, 32), (52, 32), (32, 12)):
        across, down = x - 32.5, y - 32.5
        # First about the vertical, then about the horizontal axis, one pixel behind the axes.
        across, depth = cosine * across - sine, sine * across + cosine
        down, depth = cosine * down - sine * depth, sine * down + cosine * depth
        expected = 32.5 + distance * np.array([across, down]) / (distance + depth)
        np.testing.assert_allclose(centre_of(perturb_image(spot(x, y), 'tilt')[25]), expected, atol=0.15)


def test_zoom_blur_averages_all_zooms_so_far(image):
    frames = perturb_image(image, 'zoom_blur')
    np.testing.assert_array_equal(frames[0], image)
    distances = [np.abs(frame - image.astype(float)).mean() for frame in frames]
    assert all(np.diff(distances) > 0)


@pytest.mark.parametrize('frame', [10, 30])
def test_zoom_blur_grows_by_0_004_a_frame(frame):
    zooms = 1 + 0.004 * np.arange(frame + 1)
    # An enlarged spot counts by its area.
    expected = 32.5 + np.array([19.5, -0.5]) * (zooms**3).sum() / (zooms**2).sum()
    np.testing.assert_allclose(centre_of(perturb_image(spot(52, 32), 'zoom_blur')[frame]), expected, atol=0.1)


@pytest.mark.parametrize('frame', [0, 7, 22, 30])
def test_motion_blur_is_that_of_the_library_and_turns_by_four_degrees(image, frame):
    expected = _motion_blur(image, radius=10, sigma=3, angle=4 * frame - 120)
    assert np.abs(perturb_image(image, 'motion_blur')[frame] - expected).max() < 1


def test_the_fall_of_snow_turns(image):
    frames = np.array(perturb_image(np.zeros((96, 96, 3), np.uint8), 'snow')).astype(float)
    np.testing.assert_array_equal(frames, frames[:, ::-1, ::-1])  # half the flakes fall the other way
    assert frames.min() == 19 and frames.max() > 60  # 0.15 * 0.5 of white, and flakes
    # Blurred along the columns at -90 degrees, along the rows at -150 to -30 less so.
    along, across = (np.abs(np.diff(frames, axis=axis)).mean(axis=(1, 2, 3)) for axis in (1, 2))
    assert along[15] < 0.5 * across[15] and along[0] > along[15] and along[30] > along[15]
    # Over an image: paler by 0.15 of what half of white and 1.5 times its grey exceed it by.
    grey = perturb_image(GREY, 'snow')[0]
    assert grey.min() == int(0.85 * 128 + 0.15 * (1.5 * 128 + 127.5))


def test_folders_of_noise_carry_the_difficulty():
    assert perturbation_folder('shot_noise', 1) == 'shot_noise'
    assert perturbation_folder('shot_noise', 3) == 'shot_noise_3'
    assert perturbation_folder('tilt', 3) == 'tilt'


@pytest.mark.parametrize('arguments, told', [
    (dict(perturbation='shear'), "there is no perturbation 'shear': choose from gaussian_noise, "),
    (dict(perturbation='tilt', frames=1), 'frames=1 must be an integer of at least 2'),
    (dict(perturbation='tilt', difficulty=4), 'difficulty=4 must be 1, 2 or 3'),
])
def test_mistakes_are_told(arguments, told):
    with pytest.raises(SetupError, match=told):
        perturb_image(GREY, **arguments)
    with pytest.raises(SetupError, match='at least 32 pixels a side'):
        perturb_image(GREY[:, :20], 'tilt')
