"""Perturbation sequences of ImageNet-P (Hendrycks and Dietterich, ICLR 2019), made from single images.

The strengths, lengths and definitions are those of the published generator; see docs/robustness.md for what differs.
"""
import zlib
from collections.abc import Callable, Iterable, Sequence

import cv2
import numpy as np

from mmgcp.robustness.perturbations import DIFFICULTIES, NOISES, PERTURBATIONS
from mmgcp.utils.errors import SetupError

from .corruptions import check_image

# Change per frame; for noise, the strength at difficulty 1, 2, 3.
STRENGTHS = {
    'gaussian_noise': (0.03, 0.05, 0.08),  # standard deviation, as a fraction of white
    'shot_noise': (300, 120, 60),          # photons at white
    'motion_blur': 4.,                     # degrees by which the direction turns
    'zoom_blur': 0.004,                    # increase of the largest zoom in the average
    'brightness': 0.02,                    # value V of HSV, as a fraction of white
    'translate': 1.,                       # pixels to the right
    'rotate': 1.,                          # degrees, clockwise
    'tilt': 1.,                            # degrees, about both axes of the image
    'scale': 0.025,                        # zoom
    'snow': 4.,                            # degrees by which the direction of the fall turns
}
DEFINITION = zlib.crc32(repr(STRENGTHS).encode())  # for files that must not mix sequences of several definitions
_SMALLEST_SCALE = 0.4
_FIRST_BLUR, _FIRST_FALL = -120., -150.  # degrees
# These show what was outside the crop.
_FROM_OUTSIDE = ('zoom_blur', 'translate', 'rotate', 'tilt', 'scale')


def perturbation_folder(perturbation: str, difficulty: int = 1) -> str:
    """Return the folder of a perturbation; noise of difficulty 2 and 3 has its own, such as ``gaussian_noise_2``."""
    return f'{perturbation}_{difficulty}' if perturbation in NOISES and difficulty > 1 else perturbation


def sequence_length(perturbation: str, frames: int | None = None) -> int:
    """Return ``frames``, or for None the published number of frames: 41 of 'translate', else 31."""
    return frames or (41 if perturbation == 'translate' else 31)


def check_perturbation(perturbation: str, frames: int | None = None, difficulty: int = 1) -> None:
    """Raise SetupError if the name is unknown, there are fewer than 2 frames, or the difficulty is not 1, 2 or 3."""
    if perturbation not in PERTURBATIONS:
        raise SetupError(f"there is no perturbation '{perturbation}': choose from {', '.join(PERTURBATIONS)}.")
    if frames is not None and (not isinstance(frames, int) or frames < 2):
        raise SetupError(f'frames={frames!r} must be an integer of at least 2.')
    if difficulty not in DIFFICULTIES:
        raise SetupError(f'difficulty={difficulty!r} must be 1, 2 or 3.')


def perturb_image(image: np.ndarray, perturbation: str, frames: int | None = None, difficulty: int = 1, seed: int = 0,
                  crop: Callable[[np.ndarray], np.ndarray] = np.asarray) -> list[np.ndarray]:
    """Make the sequence of one image, deterministically.

    With noise, the first frame is the image itself, and all others have independent noise of the same strength.
    Brightness, translation, rotation and tilt change from one side to the other, with the image (nearly, when tilted)
    in frame ``frames // 2``. Zoom blur starts from the image, scale from 0.4 times its size; motion blur and snow turn.

    Args:
        image (np.ndarray): RGB image of uint8 (H, W, 3) with at least 32 pixels a side.
        perturbation (str): One of ``PERTURBATIONS``.
        frames (int | None): Length T of the sequence, at least 2. None takes the published one, 31 or 41.
        difficulty (int): Strength of noise, 1 to 3; for other sequences, only the metric depends on it. Default: 1.
        seed (int): Seed of noise and snow. Default: 0.
        crop (Callable): Crops an image (H, W, 3). Perturbations that move the image are cropped afterwards, so that the
            frames show what was outside the crop, and black beyond the image. Default: no crop.

    Returns:
        list[np.ndarray]: T RGB images of uint8 (H, W, 3), cropped.

    Raises:
        SetupError: If the image is too small or of another type, or the perturbation does not exist.
    """
    check_perturbation(perturbation, frames, difficulty)
    check_image(image)
    strength = STRENGTHS[perturbation]
    if perturbation in NOISES:
        strength = strength[difficulty - 1]
    make, frames, rng = _MAKERS[perturbation], sequence_length(perturbation, frames), np.random.default_rng(seed)
    if perturbation in _FROM_OUTSIDE:
        return [np.ascontiguousarray(crop(frame)) for frame in make(image, frames, strength, rng)]
    return list(make(np.ascontiguousarray(crop(image)), frames, strength, rng))


def _to_uint8(values: np.ndarray) -> np.ndarray:
    """Truncate to integers, as the published generator does, except for rounding errors."""
    return (values + 1e-6).clip(0, 255).astype(np.uint8)


def _steps(frames: int) -> range:
    """Return the step of each frame, 0 for the image itself in frame T // 2: -15 ... 15 for 31 frames."""
    return range(-(frames // 2), frames - frames // 2)


def _warp(image: np.ndarray, matrices: Iterable[Sequence]) -> list[np.ndarray]:
    """Warp an image by homographies (3, 3) in coordinates relative to its centre; black where there is no image."""
    height, width = image.shape[:2]
    to_centre = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
    return [cv2.warpPerspective(image, np.linalg.inv(to_centre) @ matrix @ to_centre, (width, height))
            for matrix in matrices]


def _gaussian_noise(image, frames, strength, rng):
    noisy = (_to_uint8(image + 255 * strength * rng.standard_normal(image.shape)) for _ in range(frames - 1))
    return image.copy(), *noisy


def _shot_noise(image, frames, strength, rng):
    noisy = (_to_uint8(rng.poisson(image * (strength / 255)) * (255 / strength)) for _ in range(frames - 1))
    return image.copy(), *noisy


def _blur_along_line(image, length, sigma, degrees):
    """Blur by half a Gaussian on a line that starts at each pixel, as ImageMagick's motion blur."""
    steps = np.arange(length)
    columns, rows = (np.ceil(steps * along(np.deg2rad(degrees)) - 0.5).astype(int) for along in (np.cos, np.sin))
    kernel = np.zeros((2 * length - 1, 2 * length - 1))
    np.add.at(kernel, (length - 1 + rows, length - 1 + columns), np.exp(-steps**2 / (2 * sigma**2)))
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)


def _motion_blur(image, frames, strength, rng):
    return [_blur_along_line(image, 21, 3, _FIRST_BLUR + strength * index) for index in range(frames)]


def _zoom_blur(image, frames, strength, rng):
    zoomed = _warp(image, (np.diag([zoom, zoom, 1]) for zoom in 1 + strength * np.arange(frames)))
    return [(total // number).astype(np.uint8)
            for number, total in enumerate(np.cumsum(zoomed, axis=0, dtype=np.int32), 1)]


def _brightness(image, frames, strength, rng):
    value = image.max(axis=2, keepdims=True) / 255
    targets = [(value + strength * step).clip(0, 1) for step in _steps(frames)]
    # All channels grow alike, which leaves hue and saturation; black becomes grey.
    return [_to_uint8(np.where(value, image * (target / np.maximum(value, 1 / 255)), 255 * target))
            for target in targets]


def _translate(image, frames, strength, rng):
    return _warp(image, ([[1, 0, strength * step], [0, 1, 0], [0, 0, 1]] for step in _steps(frames)))


def _rotate(image, frames, strength, rng):
    angles = [np.deg2rad(strength * step) for step in _steps(frames)]  # the vertical axis points down
    return _warp(image, ([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]] for a in angles))


def _tilt(image, frames, strength, rng):
    """Rotate the image about its vertical, then its horizontal axis, seen from a distance equal to its diagonal."""
    distance = np.hypot(*image.shape[:2])
    matrices = []
    for step in _steps(frames):
        sine, cosine = np.sin(np.deg2rad(strength * step)), np.cos(np.deg2rad(strength * step))
        turned = (np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
                  @ [[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]])
        matrices.append(np.diag([distance, distance, 1]) @ (turned + np.diag([0, 0, distance])))
    return _warp(image, matrices)


def _scale(image, frames, strength, rng):
    return _warp(image, (np.diag([zoom, zoom, 1]) for zoom in _SMALLEST_SCALE + strength * np.arange(frames)))


def _snow(image, frames, strength, rng):
    """Add enlarged noise above a threshold, blurred in a turning direction, and its 180° rotation to a paler image."""
    height, width = image.shape[:2]
    rows, columns = -(-height // 3), -(-width // 3)
    noise = rng.normal(0.05, 0.3, (rows, columns))
    # Enlarged threefold, corner pixel onto corner pixel.
    steps = np.diag([(columns - 1) / (3 * columns - 1), (rows - 1) / (3 * rows - 1)])
    noise = cv2.warpAffine(noise, np.c_[steps, [0, 0]], (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    flakes = _to_uint8(255 * np.where(noise < 0.5, 0, noise))
    grey = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY)[..., None]
    paler = 0.85 * image + 0.15 * np.maximum(image, 1.5 * grey + 127.5)
    layers = [_blur_along_line(flakes, 29, 4, _FIRST_FALL + strength * index)[..., None] for index in range(frames)]
    return [_to_uint8(paler + layer + layer[::-1, ::-1]) for layer in layers]


_MAKERS = {
    'gaussian_noise': _gaussian_noise, 'shot_noise': _shot_noise, 'motion_blur': _motion_blur,
    'zoom_blur': _zoom_blur, 'brightness': _brightness, 'translate': _translate, 'rotate': _rotate, 'tilt': _tilt,
    'scale': _scale, 'snow': _snow,
}
