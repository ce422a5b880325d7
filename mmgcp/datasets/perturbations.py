"""Perturbation sequences of ImageNet-P (Hendrycks and Dietterich, ICLR 2019), made from single images.

As in the paper, a sequence has independent noise per frame, or a change that grows by a small step per frame. All
values in ``STRENGTHS`` are OURS, because the paper does not state them: results on these sequences are comparable with
each other, but not with results on the published files. Borders differ too: the published frames are cropped from
larger images; here the image is reflected at its borders.
"""
import cv2
import numpy as np

from mmgcp.robustness.perturbations import DIFFICULTIES, NOISES, PERTURBATIONS
from mmgcp.utils.errors import SetupError

from .corruptions import check_image

# Per frame, but for noise per difficulty 1, 2, 3.
STRENGTHS = {
    'gaussian_noise': (0.02, 0.04, 0.06),  # standard deviation, as a fraction of white
    'shot_noise': (500, 250, 125),         # photons at white
    'motion_blur': 4.,                     # rotation of the direction in degrees
    'zoom_blur': 0.004,                    # increase of the largest zoom in the average
    'brightness': 0.01,                    # fraction of white
    'translate': 1,                        # pixels to the right
    'rotate': 1.,                          # degrees, counter-clockwise
    'tilt': 1.,                            # degrees around the vertical axis, the right side moving backwards
    'scale': 0.01,                         # zoom
    'snow': 4,                             # pixels downwards
}
_BLUR_LENGTH = 15
# Distance of the camera from a tilted image, in image widths.
_EYE_DISTANCE = 2
_FLAKE_SHARE, _FLAKE_BRIGHTNESS = 0.01, 0.8


def perturbation_folder(perturbation: str, difficulty: int = 1) -> str:
    """Return the folder of a perturbation; noise of difficulty 2 and 3 has its own, such as ``gaussian_noise_2``."""
    return f'{perturbation}_{difficulty}' if perturbation in NOISES and difficulty > 1 else perturbation


def check_perturbation(perturbation: str, frames: int = 30, difficulty: int = 1) -> None:
    """Check that a perturbation exists.

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
    """Make the sequence of one image, deterministically.

    With noise, the first frame is the image itself, and all others have independent noise of the same strength.
    Brightness, translation, rotation, tilt and scale reach the image itself in frame ``frames // 2``; zoom blur starts
    from it.

    Args:
        image (np.ndarray): RGB image of uint8 (H, W, 3) with at least 32 pixels a side.
        perturbation (str): One of ``PERTURBATIONS``.
        frames (int): Length T of the sequence, at least 2. Default: 30.
        difficulty (int): Strength of noise: 1, 2 or 3. It does not change other sequences: for them the metric compares
            frames further apart. Default: 1.
        seed (int): Seed of noise and snow. Default: 0.

    Returns:
        list[np.ndarray]: T RGB images of uint8 (H, W, 3).

    Raises:
        SetupError: If the image is too small or of another type, or the perturbation does not exist.
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
    """Step of each frame, 0 for the image itself in frame T // 2: -15 ... 14 for 30 frames."""
    return range(-(frames // 2), frames - frames // 2)


def _centre(image):
    return (image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2


def _warp(image, matrix):
    """Warp an image by a homography (3, 3) in coordinates relative to its centre."""
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
    """Move a layer of motion-blurred flakes, taller than the image by the total distance, down the image."""
    height, width = image.shape[:2]
    distance = strength * (frames - 1)
    flakes = (rng.random((height + distance, width)) < _FLAKE_SHARE).astype(np.float32)
    layer = cv2.filter2D(cv2.GaussianBlur(flakes, (3, 3), 0), -1, _line(5, 90))
    layer = (255 * _FLAKE_BRIGHTNESS / layer.max() * layer)[..., None]
    return [_to_uint8(image + layer[top:top + height]) for top in range(distance, -1, -strength)]


_MAKERS = {
    'gaussian_noise': _gaussian_noise, 'shot_noise': _shot_noise, 'motion_blur': _motion_blur,
    'zoom_blur': _zoom_blur, 'brightness': _brightness, 'translate': _translate, 'rotate': _rotate, 'tilt': _tilt,
    'scale': _scale, 'snow': _snow,
}
