"""Corruptions of ImageNet-C (Hendrycks and Dietterich, ICLR 2019), seeded per image.

The library ``imagecorruptions`` makes them; docs/robustness.md says by how much they differ from the published ones.
"""
import inspect
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmgcp.robustness.corruptions import CORRUPTIONS, EXTRA_CORRUPTIONS, SEVERITIES
from mmgcp.utils.errors import SetupError

SMALLEST_SIDE = 32
# These take a seed and ignore NumPy's global state.
_SEEDED = ('impulse_noise', 'glass_blur')
_INSTALL = 'install it with: pip install imagecorruptions-imaug==1.1.5'


def image_seed(seed: int, *parts: object) -> int:
    """Derive the seed of an image, in [0, 2^32), from that of its set and from parts such as :func:`image_key`."""
    # Names of files need not be UTF-8.
    return zlib.crc32('/'.join(map(str, (seed, *parts))).encode(errors='surrogateescape'))


def image_key(path: str | Path) -> str:
    """Return the name of an image in its data set, without suffix: ``'n01440764/val_293'``."""
    path = Path(path)
    return f'{path.parent.name}/{path.stem}'


def check_corruption(corruption: str, severity: int) -> None:
    """Raise SetupError if a corruption or its severity is unknown."""
    if corruption not in (*CORRUPTIONS, *EXTRA_CORRUPTIONS):
        raise SetupError(f"there is no corruption '{corruption}': choose from {', '.join(CORRUPTIONS)}, and the extra "
                         f"{', '.join(EXTRA_CORRUPTIONS)}.")
    if type(severity) is not int or severity not in SEVERITIES:
        raise SetupError(f'severity={severity!r} of {corruption} must be an integer from 1 to {SEVERITIES[-1]}.')


def check_image(image: np.ndarray) -> None:
    """Raise SetupError if an image is not uint8 of shape (H, W, 3), or has a side below 32 pixels."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise SetupError(f'an image to corrupt must be uint8 of shape (H, W, 3), but is {image.dtype} of shape '
                         f'{image.shape}: corrupt before normalising.')
    if min(image.shape[:2]) < SMALLEST_SIDE:
        raise SetupError(f'an image to corrupt must have at least {SMALLEST_SIDE} pixels a side, but has '
                         f'{image.shape[1]} x {image.shape[0]}: resize it first.')


def load_library() -> Callable[..., np.ndarray]:
    """Import the function ``corrupt`` of the library ``imagecorruptions``, which is needed only to corrupt images.

    Raises:
        SetupError: If the library is missing, broken, or an older one of this name, which cannot seed glass blur.
    """
    try:
        from imagecorruptions import corrupt, corruptions
    except ImportError as error:
        raise SetupError(f'corrupting images needs the library imagecorruptions ({error}): {_INSTALL}.') from error
    if not all('seed' in inspect.signature(getattr(corruptions, name)).parameters for name in _SEEDED):
        raise SetupError('the imagecorruptions installed here cannot be seeded; its successor can: pip uninstall '
                         f'imagecorruptions, then {_INSTALL}.')
    return corrupt


def corrupt_image(image: np.ndarray, corruption: str, severity: int, seed: int) -> np.ndarray:
    """Corrupt an RGB image of uint8 (H, W, 3), by a seed in [0, 2^32); leaves NumPy's global state alone.

    Raises:
        SetupError: If the image is too small or of another type, the corruption unknown or the library missing.
    """
    check_corruption(corruption, severity)
    check_image(image)
    corrupt = load_library()
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        # NaN would silently become a black pixel.
        with np.errstate(invalid='raise'):
            return corrupt(np.ascontiguousarray(image), severity, corruption,
                           **(dict(seed=seed) if corruption in _SEEDED else {}))
    except FloatingPointError:
        if corruption != 'spatter':
            raise
        # The library divides by the strongest drop, but a small image may get no drop: it stays unchanged.
        return image.copy()
    finally:
        np.random.set_state(state)
