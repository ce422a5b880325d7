"""Covariance pooling: one entry point for all methods."""
import math

import torch
from torch import Tensor

from .compat import autocast_type, is_autocast_enabled, without_autocast
from .covariance import as_features
from .methods import METHODS, check_settings
from .triu import triu_dim, upper_positions


def covariance_pool(x: Tensor, method: str = 'newton_schulz', *, mask: Tensor | None = None, vector: bool = False,
                    scale_off_diagonal: bool = False, check_finite: bool = False, **options) -> Tensor:
    """Sample covariance of the features over their pixels, normalised (Eqs. 1 and 2 of Wang et al., CVPR 2020).

    Args:
        x (Tensor): Feature maps (B, C, H, W) or tokens (B, N, C) of a floating dtype, in any memory format.
        method (str): A name in :data:`mmgcp.ops.METHODS`.
        mask (Tensor, optional): Boolean, (B, H, W) or (B, N), true where a pixel or token is valid; others are ignored.
        vector (bool): Whether to return the upper triangle of the matrix, row by row.
        scale_off_diagonal (bool): Whether to multiply its off-diagonal entries by sqrt(2), to preserve inner products.
        check_finite (bool): Whether to reject NaN and infinite features. For debugging: it synchronises with the GPU.
        **options: Options of the method, see :mod:`mmgcp.ops.methods`. Common ones: ``center`` (bool), false for the
            second moment in place of the covariance ``S``; ``shrinkage`` (float), ``gamma`` in
            ``(1 - gamma) S + gamma tr(S) I / C``; ``side`` (str), ``'covariance'`` to work on C x C matrices,
            ``'gram'`` on N x N ones, ``'auto'`` on the smaller: results are equal to rounding.

    Returns:
        Tensor: (B, C, C), symmetric, or with ``vector`` (B, C (C + 1) / 2), unless the method has other sizes. Computed
        in float32, or in float64 for float64 input. Of the input's dtype, but float32 under autocast; finite values
        beyond float16 become its largest number. For features without variance, value and gradient are finite.

    Raises:
        ValueError: If a setting is unknown or out of range, a shape is wrong, or ``check_finite`` finds NaN or inf.
        TypeError: If ``x`` has no real floating dtype, the mask is not boolean, or the method has no such option.
        torch.linalg.LinAlgError: If LAPACK or cuSOLVER cannot decompose a matrix, see :mod:`mmgcp.ops.solvers`.

    Examples:
        >>> x = torch.tensor([[[[1., -1.], [1., -1.]], [[2., -2.], [2., -2.]]]])  # two channels of 2 x 2 pixels
        >>> covariance_pool(x, 'covariance')
        tensor([[[1., 2.],
                 [2., 4.]]])
        >>> covariance_pool(x, 'covariance', vector=True)
        tensor([[1., 2., 4.]])
        >>> root = covariance_pool(x, 'eigh')
        >>> torch.allclose(root @ root, covariance_pool(x, 'covariance'), atol=1e-5)
        True
        >>> tokens, mask = torch.rand(2, 49, 8), torch.rand(2, 49) < 0.9
        >>> covariance_pool(tokens, mask=mask, num_iters=3).shape
        torch.Size([2, 8, 8])
    """
    check_settings(method, **options)
    if scale_off_diagonal and not (vector and METHODS[method].returns == 'matrix'):
        raise ValueError('scale_off_diagonal=True weighs the upper triangle of a matrix: it needs vector=True and a '
                         f"method that returns a matrix, got vector={vector} and method='{method}'")
    features, mask = as_features(x, mask)
    dtype = x.dtype if x.dtype in (torch.float32, torch.float64) else torch.float32
    out_dtype = dtype if is_autocast_enabled(autocast_type(x.device)) else x.dtype
    with without_autocast(x):
        features = features.to(dtype)
        if check_finite:
            _check_finite(features, mask)
        pooled = METHODS[method].pool(features, mask, vector, **options)
        if scale_off_diagonal:
            pooled = pooled * _isometric_weights(pooled)
        if out_dtype == torch.float16:
            largest = torch.finfo(out_dtype).max
            pooled = torch.where(pooled.isinf(), pooled, pooled.clamp(-largest, largest))
        return pooled.to(out_dtype)


def _isometric_weights(vector: Tensor) -> Tensor:
    """1 for entries on the diagonal, sqrt(2) for the others."""
    dim = triu_dim(vector.shape[-1])
    diagonal = upper_positions(dim, vector.device) % (dim + 1) == 0
    return torch.full_like(diagonal, math.sqrt(2), dtype=vector.dtype).masked_fill(diagonal, 1)


def _check_finite(features: Tensor, mask: Tensor | None) -> None:
    finite = features.isfinite() if mask is None else features.isfinite() | ~mask
    images = (~finite).flatten(1).any(1)
    if images.any():
        raise ValueError(f'{int(images.sum())} of {len(images)} images have NaN or infinite features where their '
                         'covariance is taken: look at the layers in front, the learning rate and the loss scale')
