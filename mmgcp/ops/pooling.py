"""Covariance pooling: one entry for all normalisations."""
import torch
from torch import Tensor

from .eigh import eigh_pool
from .newton_schulz import newton_schulz_pool

METHODS = ('newton_schulz', 'eigh')
SIDES = ('auto', 'gram', 'covariance')


def covariance_pool(x: Tensor, method: str = 'newton_schulz', num_iters: int = 5, side: str = 'auto') -> Tensor:
    """Normalised sample covariance of feature maps over their pixels (Eqs. 1 and 2 of Wang et al., CVPR 2020).

    Args:
        x (Tensor): Features (B, C, H, W) of a floating dtype, in any memory format.
        method (str): ``'newton_schulz'``, iSQRT-COV's polynomial (:mod:`mmgcp.ops.newton_schulz`), or ``'eigh'``, the
            exact square root (:mod:`mmgcp.ops.eigh`).
        num_iters (int): Newton-Schulz steps; not used by ``'eigh'``.
        side (str): ``'covariance'`` works on C x C matrices, ``'gram'`` on (H W) x (H W) ones, ``'auto'`` takes the
            smaller. All give the same numbers to rounding.

    Returns:
        Tensor: (B, C, C), symmetric. Computed in float32, or float64 for such input; of the input's dtype, but float32
        under autocast, whose float16 could overflow. Zero, with zero gradient, where the features do not vary.

    Raises:
        ValueError: If the method or side is unknown, ``num_iters`` is below 1, or ``x`` is empty or not 4-dimensional.
        TypeError: If ``x`` is not of a real floating dtype.
    """
    check_arguments(method, num_iters, side)
    if x.dim() != 4:
        raise ValueError(f'covariance_pool takes features of shape (B, C, H, W), got {tuple(x.shape)}')
    if not x.is_floating_point():
        raise TypeError(f'covariance_pool takes real floating-point features, got {x.dtype}')
    if 0 in x.shape[1:]:
        raise ValueError(f'covariance_pool needs at least one channel and one pixel, got the shape {tuple(x.shape)}')

    dtype = x.dtype if x.dtype in (torch.float32, torch.float64) else torch.float32
    out_dtype = dtype if _autocast_enabled(x.device.type) else x.dtype
    with torch.autocast(x.device.type, enabled=False):
        features = x.flatten(2).to(dtype)
        if side == 'auto':
            side = 'gram' if features.shape[2] < features.shape[1] else 'covariance'
        if method == 'newton_schulz':
            pooled = newton_schulz_pool(features, num_iters, side)
        else:
            pooled = eigh_pool(features, side)
        return pooled.to(out_dtype)


def check_arguments(method: str, num_iters: int, side: str = 'auto') -> None:
    """Refuse settings that :func:`covariance_pool` does not know, before any data arrive.

    Raises:
        ValueError: If the method or side is unknown or ``num_iters`` is not an integer of at least 1.
    """
    if method not in METHODS:
        raise ValueError(f"method='{method}' is unknown: choose one of {', '.join(METHODS)}")
    if side not in SIDES:
        raise ValueError(f"side='{side}' is unknown: choose one of {', '.join(SIDES)}")
    if not isinstance(num_iters, int) or num_iters < 1:
        raise ValueError(f'num_iters={num_iters} must be an integer of at least 1')


def _autocast_enabled(device_type: str) -> bool:
    try:
        return torch.is_autocast_enabled(device_type)
    except TypeError:  # torch < 2.4 asks per device by name
        return torch.is_autocast_cpu_enabled() if device_type == 'cpu' else torch.is_autocast_enabled()
