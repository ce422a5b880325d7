"""The perturbation sequences of ImageNet-P (Hendrycks and Dietterich, ICLR 2019), made from a single image.

The sequences are the paper's in kind: frames of independent noise, or a change that grows by a small step per frame.
All strengths in ``STRENGTHS`` are OURS: the paper does not state them, so that numbers on these sequences compare with
each other, but not with those on the published files. A second difference is the border: the published frames are cut
from larger images; here what moves in from outside is the image, reflected.
"""
import cv2
import numpy as np

from mmgcp.robustness.perturbations import DIFFICULTIES, NOISES, PERTURBATIONS
from mmgcp.utils.errors import SetupError

from .corruptions import check_image

# Per frame, but for noise: there per difficulty 1, 2, 3.
STRENGTHS = {
    'gaussian_noise': (0.02, 0.04, 0.06),  # standard deviation, as a share of white
    'shot_noise': (500, 250, 125),         # photons at white
    'motion_blur': 4.,                     # degrees by which the direction turns
    'zoom_blur': 0.004,                    # zoom added to what is averaged
    'brightness': 0.01,                    # share of white
    'translate': 1,                        # pixels to the right
    'rotate': 1.,                          # degrees, counter-clockwise
    'tilt': 1.,                            # degrees around the vertical axis, towards the back on the right
    'scale': 0.01,                         # zoom
    'snow': 4,                             # pixels downwards
}
_BLUR_LENGTH = 15
# Distance of the eye from a tilted image, in widths of the image.
_EYE_DISTANCE = 2
_FLAKE_SHARE, _FLAKE_BRIGHTNESS = 0.01, 0.8


def perturbation_folder(perturbation: str, difficulty: int = 1) -> str:
    """Folder of a perturbation: noise of difficulty 2 and 3 has its own, as ``gaussian_noise_2``."""
    return f'{perturbation}_{difficulty}' if perturbation in NOISES and difficulty > 1 else perturbation


def check_perturbation(perturbation: str, frames: int = 30, difficulty: int = 1) -> None:
    """Check that there is such a sequence.

    Raises:
        SetupError: If the name is unknown, there are fewer than 2 frames, or the difficulty is not 1, 2 or 3.
    """
    if perturbation not in PERTURBATIONS:
        raise SetupError(f"there is no perturbation '{perturbation}': choose from {', '.join(PERTURBATIONS)}.")
    if not isinstance(frames, int) or frames < 2:
        raise SetupError(f'frames={frames!r} must be an integer of at least 2.')
    if difficulty not in DIFFICULTIES:
        raise SetupError(f'difficulty={difficulty!r} must be 1, 2 or 3.')


def perturb_image(
    image: np.ndarray, perturbation: str, frames: int = 30, difficulty: int = 1, seed: int = 0
) -> list[np.ndarray]:
    """Make the sequence of one image; the same arguments give the same pixels.

    The first frame of noise is the image itself; the noise on the others is independent and of one strength.
    Brightness, translation, rotation, tilt and scale pass through the image itself in frame ``frames // 2``; zoom blur
    starts from it.

    Args:
        image (np.ndarray): RGB image of uint8 (H, W, 3) with at least 32 pixels a side.
        perturbation (str): One of ``PERTURBATIONS``.
        frames (int): Length T of the sequence, at least 2. Defaults to 30.
        difficulty (int): 1, 2 or 3: strength of noise. It changes no other sequence; there the metric compares frames
            farther apart. Defaults to 1.
        seed (int): Seed of noise and snow. Defaults to 0.

    Returns:
        list[np.ndarray]: T RGB images of uint8 (H, W, 3).

    Raises:
        SetupError: If the image is too small or of another type, or there is no such sequence.
    """
    check_perturbation(perturbation, frames, difficulty)
    check_image(image)
    strength = STRENGTHS[perturbation]
    if perturbation in NOISES:
        strength = strength[difficulty - 1]
    return _MAKERS[perturbation](image, frames, strength, np.random.default_rng(seed))


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return np.rint(values).clip(0, 255).astype(np.uint8)


def _steps(frames: int) -> range:
    """Steps from the image itself, which is frame T // 2: -15 ... 14 for 30 frames."""
    return range(-(frames // 2), frames - frames // 2)


def _centre(image):
    return (image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2


def _warp(image, matrix):
    """Move pixels by a homography (3, 3) in coordinates around the centre of the image."""
    x, y = _centre(image)
    to_centre = np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1]])
    matrix = np.linalg.inv(to_centre) @ matrix @ to_centre
    return cv2.warpPerspective(image, matrix, image.shape[1::-1], flags=cv2.INTER_LINEAR,
                               borderMode=cv2.BORDER_REFLECT_101)


def _zoomed(image, factor):
    return _warp(image, np.diag([factor, factor, 1]))


def _gaussian_noise(image, frames, strength, rng):
    noisy = [_to_uint8(image + 255 * strength * rng.standard_normal(image.shape)) for _ in range(frames - 1)]
    return [image.copy(), *noisy]


def _shot_noise(image, frames, strength, rng):
    noisy = [_to_uint8(rng.poisson(image * (strength / 255)) * (255 / strength)) for _ in range(frames - 1)]
    return [image.copy(), *noisy]


def _line(length, degrees):
    """Kernel (length, length) that averages along a line through its centre."""
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1
    turn = cv2.getRotationMatrix2D((length // 2, length // 2), degrees, 1)
    kernel = cv2.warpAffine(kernel, turn, (length, length))
    return kernel / kernel.sum()


def _motion_blur(image, frames, strength, rng):
    return [cv2.filter2D(image, -1, _line(_BLUR_LENGTH, strength * step)) for step in _steps(frames)]


def _zoom_blur(image, frames, strength, rng):
    total, sequence = np.zeros(image.shape), []
    for index in range(frames):
        total += _zoomed(image, 1 + strength * index)
        sequence.append(_to_uint8(total / (index + 1)))
    return sequence


def _brightness(image, frames, strength, rng):
    return [_to_uint8(image + 255 * strength * step) for step in _steps(frames)]


def _translate(image, frames, strength, rng):
    return [_warp(image, np.array([[1, 0, strength * step], [0, 1, 0], [0, 0, 1]])) for step in _steps(frames)]


def _rotate(image, frames, strength, rng):
    sequence = []
    for step in _steps(frames):
        angle = np.deg2rad(strength * step)
        # The vertical axis of an image points down.
        sequence.append(_warp(image, np.array([
            [np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])))
    return sequence


def _tilt(image, frames, strength, rng):
    distance = _EYE_DISTANCE * image.shape[1]
    sequence = []
    for step in _steps(frames):
        angle = np.deg2rad(strength * step)
        sequence.append(_warp(image, np.array([
            [np.cos(angle), 0, 0], [0, 1, 0], [np.sin(angle) / distance, 0, 1]])))
    return sequence


def _scale(image, frames, strength, rng):
    return [_zoomed(image, 1 + strength * step) for step in _steps(frames)]


def _snow(image, frames, strength, rng):
    """A layer of flakes, drawn out along their fall, that is taller than the image by the way it falls."""
    height, width = image.shape[:2]
    way = strength * (frames - 1)
    flakes = (rng.random((height + way, width)) < _FLAKE_SHARE).astype(np.float32)
    layer = cv2.filter2D(cv2.GaussianBlur(flakes, (3, 3), 0), -1, _line(5, 90))
    layer = (255 * _FLAKE_BRIGHTNESS / layer.max() * layer)[..., None]
    return [_to_uint8(image + layer[top:top + height]) for top in range(way, -1, -strength)]


_MAKERS = {
    'gaussian_noise': _gaussian_noise, 'shot_noise': _shot_noise, 'motion_blur': _motion_blur,
    'zoom_blur': _zoom_blur, 'brightness': _brightness, 'translate': _translate, 'rotate': _rotate, 'tilt': _tilt,
    'scale': _scale, 'snow': _snow,
}
