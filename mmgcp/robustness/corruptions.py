"""Errors on corrupted images: mCE and relative mCE of ImageNet-C (Table 4).

Hendrycks & Dietterich, *Benchmarking neural network robustness to common corruptions and perturbations*, ICLR 2019.
"""
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from mmgcp.utils.errors import SetupError

from .reference import is_share, mean_or_none, read_reference

CORRUPTIONS = ('gaussian_noise', 'shot_noise', 'impulse_noise', 'defocus_blur', 'glass_blur', 'motion_blur',
               'zoom_blur', 'snow', 'frost', 'fog', 'brightness', 'contrast', 'elastic_transform', 'pixelate',
               'jpeg_compression')
# Published for validation beside the fifteen; not included in means.
EXTRA_CORRUPTIONS = ('speckle_noise', 'gaussian_blur', 'spatter', 'saturate')
# ImageNet-C-bar and ImageNet-3DCC.
C_BAR = ('blue_noise_sample', 'brownish_noise', 'caustic_refraction', 'checkerboard_cutout', 'cocentric_sine_waves',
         'inverse_sparkles', 'perlin_noise', 'plasma_noise', 'single_frequency_greyscale', 'sparkles')
THREE_D = ('near_focus', 'far_focus', 'bit_error', 'color_quant', 'flash', 'fog_3d', 'h265_abr', 'h265_crf',
           'iso_noise', 'low_light', 'xy_motion_blur', 'z_motion_blur')
SEVERITIES = (1, 2, 3, 4, 5)

_ALEXNET = Path(__file__).with_name('references') / 'alexnet_imagenet_c.json'


class CorruptionErrors(NamedTuple):
    """Errors in %, relative to the reference if there is one."""
    ce: dict[str, float]  # corruption error (CE) by corruption
    mce: float | None  # its mean over the measured corruptions, without extra ones
    relative_ce: dict[str, float] | None  # None if the clean error is unknown
    relative_mce: float | None


def corruption_errors(errors: Mapping[str, Mapping[int, float]], clean: float | None = None,
                      reference: Mapping | None = None) -> CorruptionErrors:
    r"""Compute corruption errors and their means.

    .. math:: CE_c = \frac{\sum_s E_{c,s}}{\sum_s E^{ref}_{c,s}}, \quad
        relative\ CE_c = \frac{\sum_s (E_{c,s} - E_{clean})}{\sum_s (E^{ref}_{c,s} - E^{ref}_{clean})}

    Both sums are over the measured severities. Without a reference, the denominators are the numbers of severities, so
    that CE is the mean error, and relative CE its difference from the clean error.

    Args:
        errors (Mapping[str, Mapping[int, float]]): Errors in [0, 1] by corruption and severity, or arrays over photos.
        clean (float, optional): Error on clean images in [0, 1].
        reference (Mapping, optional): Errors of another network, from :func:`load_corruption_reference`.

    Raises:
        ValueError: If an error or severity is invalid, or the reference lacks a corruption or has no error on it.
    """
    if clean is not None and not is_share(clean):
        raise ValueError(f'the clean error must be a share in [0, 1], but is {clean!r}')
    ce, relative_ce = {}, {}
    for corruption, shares in errors.items():
        _check_errors(corruption, shares)
        base = relative_base = len(shares)
        if reference is not None:
            if corruption not in reference['errors']:
                raise ValueError(f"the reference has no errors on '{corruption}': it has "
                                 f"{', '.join(reference['errors'])}")
            theirs = [reference['errors'][corruption][severity - 1] for severity in shares]
            base, relative_base = sum(theirs), sum(share - reference['clean'] for share in theirs)
        ce[corruption] = 100 * sum(shares.values()) / _positive(base, corruption, 'error')
        if clean is not None:
            rise = sum(share - clean for share in shares.values())
            # A negative base would flip the sign, and a worse network would look better.
            relative_ce[corruption] = 100 * rise / _positive(relative_base, corruption, 'error beyond its clean one')
    mce, relative_mce = (mean_or_none(values[name] for name in (*CORRUPTIONS, *C_BAR, *THREE_D) if name in values)
                         for values in (ce, relative_ce))
    return CorruptionErrors(ce, mce, relative_ce if clean is not None else None, relative_mce)


def _check_errors(corruption: str, shares: Mapping[int, float]) -> None:
    if not shares or not set(shares) <= set(SEVERITIES):
        raise ValueError(f"'{corruption}' must have errors at severities from 1 to 5, but has them at {list(shares)}")
    for severity, share in shares.items():
        if not is_share(share):
            raise ValueError(f"the error on '{corruption}' at severity {severity} must be a share in [0, 1], but is "
                             f'{share!r}')


def _positive(base: float, corruption: str, what: str) -> float:
    if base <= 0:
        raise ValueError(f"the reference has no {what} on '{corruption}' to divide by: take another reference")
    return base


def load_corruption_reference(name_or_path: str | Path) -> dict:
    """Load the errors of ``'alexnet'``, the paper's reference, or of a network from a JSON file.

    The file has ``{"source": text, "clean": error, "errors": {corruption: [error at severity 1, ..., 5]}}``.

    Raises:
        SetupError: If the file cannot be read or has another format.
    """
    path = _ALEXNET if name_or_path == 'alexnet' else name_or_path
    reference = read_reference(path, ('source', 'clean', 'errors'))
    if not is_share(reference['clean']):
        raise SetupError(f"'clean' of the reference '{path}' must be a share in [0, 1], but is {reference['clean']!r}")
    errors = reference['errors']
    if not isinstance(errors, dict) or not errors:
        raise SetupError(f"'errors' of the reference '{path}' must map corruptions to lists of shares")
    for corruption, shares in errors.items():
        if not isinstance(shares, list) or len(shares) != len(SEVERITIES) or not all(map(is_share, shares)):
            raise SetupError(f"the reference '{path}' must give five shares in [0, 1] for '{corruption}', but gives "
                             f'{shares!r}')
    return reference
