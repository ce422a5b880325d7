"""Perturbation sequences: their steps, their seeds, and what is refused."""
import numpy as np
import pytest

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
    assert len(frames) == 30
    assert all(frame.shape == image.shape and frame.dtype == np.uint8 for frame in frames)
    assert all((one != two).any() for one, two in zip(frames, frames[1:], strict=False))
    np.testing.assert_array_equal(frames, perturb_image(image, perturbation, seed=3))
    other = perturb_image(image, perturbation, seed=4)
    assert (np.array(other) != frames).any() == (perturbation in (*NOISES, 'snow'))


@pytest.mark.parametrize('perturbation', ['translate', 'rotate', 'tilt', 'scale', 'zoom_blur', 'motion_blur'])
def test_no_black_corners(perturbation):
    """Of an even image nothing changes: what comes in from outside is the image, reflected."""
    assert all((frame == GREY).all() for frame in perturb_image(GREY, perturbation))


@pytest.mark.parametrize('perturbation', ['brightness', 'translate', 'rotate', 'tilt', 'scale'])
@pytest.mark.parametrize('frames', [30, 7])
def test_middle_frame_is_the_image(image, perturbation, frames):
    np.testing.assert_array_equal(perturb_image(image, perturbation, frames)[frames // 2], image)


def test_translation_is_one_pixel_a_frame(image):
    frames = perturb_image(image, 'translate')
    for index, frame in enumerate(frames):
        shift = index - 15
        np.testing.assert_array_equal(frame[:, max(shift, 0):64 + min(shift, 0)],
                                      image[:, max(-shift, 0):64 - max(shift, 0)])
    # Reflected about the outermost column.
    np.testing.assert_array_equal(frames[17][:, :2], image[:, [2, 1]])


def test_brightness_grows_by_a_hundredth_of_white():
    levels = [frame.mean() for frame in perturb_image(GREY, 'brightness')]
    np.testing.assert_allclose(levels, 128 + 2.55 * np.arange(-15, 15), atol=0.5)


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
    np.testing.assert_allclose(shots.mean(axis=(1, 2, 3)), 128 / 255, atol=0.003)
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
    for index in (0, 10, 29):
        angle = np.deg2rad(index - 15)
        # Counter-clockwise, rows counted downwards.
        expected = 32 + 20 * np.cos(angle), 32 - 20 * np.sin(angle)
        np.testing.assert_allclose(centre_of(frames[index]), expected, atol=0.1)


def test_scale_and_tilt_move_points_from_the_centre():
    np.testing.assert_allclose(centre_of(perturb_image(spot(52, 32), 'scale')[25]), (32 + 1.1 * 20, 32), atol=0.1)
    sine, cosine = np.sin(np.deg2rad(10)), np.cos(np.deg2rad(10))
    distance = 130
    for x in (12, 52):
        expected = 32 + (x - 32) * cosine * distance / (distance + (x - 32) * sine)
        np.testing.assert_allclose(centre_of(perturb_image(spot(x, 32), 'tilt')[25]), (expected, 32), atol=0.1)


def test_zoom_blur_averages_all_zooms_so_far(image):
    frames = perturb_image(image, 'zoom_blur')
    np.testing.assert_array_equal(frames[0], image)
    distances = [np.abs(frame - image.astype(float)).mean() for frame in frames]
    assert all(np.diff(distances) > 0)


def test_motion_blur_turns_about_its_middle():
    """A bright column is spread along the rows by the level blur of the middle frame, and less so by turned ones."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, 32] = 255
    frames = perturb_image(image, 'motion_blur')
    np.testing.assert_array_equal(frames[15][32, 24:41, 0], [0, *[17] * 15, 0])
    assert frames[0][32, :, 0].max() > 25


def test_snow_falls_by_four_pixels_a_frame():
    frames = perturb_image(np.zeros_like(GREY), 'snow')
    assert frames[0].max() > 100 and 0 < (frames[0] > 50).mean() < 0.2
    for one, two in zip(frames, frames[1:], strict=False):
        np.testing.assert_array_equal(one[:-4], two[4:])


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
