"""Covariance pooling: one entry for all methods."""
import math

import torch
from torch import Tensor

from .compat import autocast_type, is_autocast_enabled
from .covariance import as_features
from .methods import METHODS, check_settings
from .triu import triu_dim, upper_positions


def covariance_pool(x: Tensor, method: str = 'newton_schulz', *, mask: Tensor | None = None, vector: bool = False,
                    scale_off_diagonal: bool = False, check_finite: bool = False, **options) -> Tensor:
    """Normalised sample covariance of features over their pixels (Eqs. 1 and 2 of Wang et al., CVPR 2020).

    Args:
        x (Tensor): Feature maps (B, C, H, W) or tokens (B, N, C) of a floating dtype, in any memory format.
        method (str): A name in :data:`mmgcp.ops.METHODS`.
        mask (Tensor, optional): Boolean, true where a pixel or token is valid: (B, H, W) or (B, N). Mean and covariance
            are those of the valid ones.
        vector (bool): Whether to return the upper triangle of the matrix, row by row.
        scale_off_diagonal (bool): Whether entries off the diagonal of that vector are multiplied by sqrt(2), so that
            inner products of vectors are those of the matrices.
        check_finite (bool): Whether to refuse NaN and infinite features. Waits for the GPU; for finding faults.
        **options: Of the method, see there. Common ones: ``center`` (bool), without which ``S`` is the second moment;
            ``shrinkage`` (float), ``gamma`` of ``(1 - gamma) S + gamma tr(S) I / C``; ``side`` (str),
            ``'covariance'`` works on C x C matrices, ``'gram'`` on N x N ones, ``'auto'`` takes the smaller, and all
            give the same numbers to rounding.

    Returns:
        Tensor: (B, C, C), symmetric, or with ``vector`` (B, C (C + 1) / 2); the sizes are the method's. Computed in
        float32, or float64 for such input; of the input's dtype, but float32 under autocast. What float16 cannot hold
        becomes its largest number. Without variance neither value nor gradient is NaN or infinite.

    Raises:
        ValueError: If a setting is unknown or out of range, the shape of ``x`` or the mask does not fit, or
            ``check_finite`` found something.
        TypeError: If ``x`` is not of a real floating dtype, the mask not boolean, or the method has no such option.
    """
    check_settings(method, **options)
    if scale_off_diagonal and not (vector and METHODS[method].returns == 'matrix'):
        raise ValueError('scale_off_diagonal=True weighs the upper triangle of a matrix: it needs vector=True and a '
                         f"method that returns a matrix, got vector={vector} and method='{method}'")
    features, mask = as_features(x, mask)
    dtype = x.dtype if x.dtype in (torch.float32, torch.float64) else torch.float32
    device_type = autocast_type(x.device)
    out_dtype = dtype if is_autocast_enabled(device_type) else x.dtype
    with torch.autocast(device_type, enabled=False):
        features = features.to(dtype)
        if check_finite:
            _check_finite(features, mask)
        pooled = METHODS[method].pool(features, mask, vector, **options)
        if scale_off_diagonal:
            pooled = pooled * _isometric_weights(pooled)
        if out_dtype == torch.float16:
            largest = torch.finfo(out_dtype).max
            pooled = pooled.clamp(-largest, largest)
        return pooled.to(out_dtype)


def _isometric_weights(vector: Tensor) -> Tensor:
    """1 for entries on the diagonal, sqrt(2) for the others."""
    dim = triu_dim(vector.shape[-1])
    diagonal = upper_positions(dim, vector.device) % (dim + 1) == 0
    return torch.where(diagonal, 1., math.sqrt(2)).to(vector.dtype)


def _check_finite(features: Tensor, mask: Tensor | None) -> None:
    finite = features.isfinite() if mask is None else features.isfinite() | ~mask
    images = (~finite).flatten(1).any(1)
    if images.any():
        raise ValueError(f'{int(images.sum())} of {len(images)} images have NaN or infinite features where their '
                         'covariance is taken: look at the layers in front, the learning rate and the loss scale')
