"""Covariance pooling: one entry for all normalisations."""
import math

import torch
from torch import Tensor

from .compat import autocast_type, is_autocast_enabled
from .covariance import as_features, covariance_factor
from .dropcov import drop_channels
from .gaussian import gaussian_factor
from .newton_schulz import newton_schulz_pool
from .pade import pade_pool
from .signed_power import signed_power, unit_norm
from .spectral import Log, Power, spectral_pool
from .tensor_sketch import tensor_sketch
from .triu import triu_dim, triu_vector, upper_positions

SIDES = ('auto', 'gram', 'covariance')
PRE_NORMS = ('trace', 'none')


def covariance_pool(x: Tensor, method: str = 'newton_schulz', *, mask: Tensor | None = None, vector: bool = False,
                    scale_off_diagonal: bool = False, check_finite: bool = False, **options) -> Tensor:
    """Normalised sample covariance of features over their pixels (Eqs. 1 and 2 of Wang et al., CVPR 2020).

    Args:
        x (Tensor): Feature maps (B, C, H, W) or tokens (B, N, C) of a floating dtype, in any memory format.
        method (str): A name in :data:`METHODS`.
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
    if scale_off_diagonal and (not vector or method == 'compact_bilinear'):
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
        pooled = METHODS[method](features, mask, vector, **options)
        if scale_off_diagonal:
            pooled = pooled * _isometric_weights(pooled)
        if out_dtype == torch.float16:
            largest = torch.finfo(out_dtype).max
            pooled = pooled.clamp(-largest, largest)
        return pooled.to(out_dtype)


def plain(features: Tensor, mask: Tensor | None, vector: bool, center: bool = True, shrinkage: float = 0.) -> Tensor:
    """``'covariance'``: the sample covariance itself (Eq. 1); uncentred, bilinear pooling."""
    factor = covariance_factor(features, mask, center)
    return _as_asked(_shrunk(factor @ factor.transpose(1, 2), shrinkage), vector)


def newton_schulz(features: Tensor, mask: Tensor | None, vector: bool, num_iters: int = 5, side: str = 'auto',
                  center: bool = True, pre_norm: str = 'trace', shrinkage: float = 0.) -> Tensor:
    """``'newton_schulz'``: iSQRT-COV (Li et al., CVPR 2018), see :mod:`mmgcp.ops.newton_schulz`.

    ``pre_norm='none'`` leaves out the division by the trace and converges only for eigenvalues below 3.
    """
    if shrinkage:
        if side == 'gram' or pre_norm == 'none':
            raise ValueError("shrinkage makes method='newton_schulz' full rank: it needs side='covariance' or 'auto' "
                             f"and pre_norm='trace', got side='{side}' and pre_norm='{pre_norm}'")
        side = 'covariance'
    return newton_schulz_pool(features, mask, num_iters, _smaller(side, features), center, pre_norm, shrinkage, vector)


def eigh(features: Tensor, mask: Tensor | None, vector: bool, side: str = 'auto', center: bool = True,
         shrinkage: float = 0.) -> Tensor:
    """``'eigh'``: the exact square root (Eq. 2), the power 1/2 of MPN-COV."""
    return power(features, mask, vector, 0.5, side, center, shrinkage)


def power(features: Tensor, mask: Tensor | None, vector: bool, alpha: float = 0.5, side: str = 'auto',
          center: bool = True, shrinkage: float = 0.) -> Tensor:
    """``'power'``: the matrix power ``S^alpha`` (MPN-COV, Li et al., ICCV 2017), see :mod:`mmgcp.ops.spectral`."""
    factor = covariance_factor(features, mask, center)
    if not shrinkage:
        return _as_asked(spectral_pool(factor, Power(alpha), _smaller(side, features)), vector)
    normed, trace, shift = _normed(factor, shrinkage)
    return _as_asked(spectral_pool(normed, Power(alpha), _smaller(side, features), shift) * trace**alpha, vector)


def log(features: Tensor, mask: Tensor | None, vector: bool, shrinkage: float = 1e-3, side: str = 'auto',
        center: bool = True) -> Tensor:
    """``'log'``: the matrix logarithm (DeepO2P, Ionescu et al., ICCV 2015) of the shrunk covariance.

    Without variance, the logarithm of ``shrinkage I / C``.
    """
    if shrinkage == 0:
        raise ValueError("shrinkage=0 does not suit method='log': a covariance of rank below C has no logarithm")
    normed, trace, shift = _normed(covariance_factor(features, mask, center), shrinkage)
    pooled = spectral_pool(normed, Log(), _smaller(side, features), shift)
    return _as_asked(pooled + trace.log() * torch.eye(pooled.shape[-1], dtype=pooled.dtype, device=pooled.device),
                     vector)


def pade(features: Tensor, mask: Tensor | None, vector: bool, degree: int = 5, num_iters: int = 8,
         center: bool = True, shrinkage: float = 0.) -> Tensor:
    """``'pade'``: square root by matrix Pade approximants (Song et al., ICLR 2022), see :mod:`mmgcp.ops.pade`."""
    factor = covariance_factor(features, mask, center)
    if not shrinkage:
        return _as_asked(pade_pool(factor, degree=degree, num_iters=num_iters), vector)
    normed, trace, shift = _normed(factor, shrinkage)
    return _as_asked(pade_pool(normed, shift, degree, num_iters) * trace.sqrt(), vector)


def elementwise(features: Tensor, mask: Tensor | None, vector: bool, alpha: float = 0.5,
                center: bool = True) -> Tensor:
    """``'signed_power'``: ``sign(s) |s|^alpha`` of each entry, then l2 norm (B-CNN, Lin et al., ICCV 2015)."""
    factor = covariance_factor(features, mask, center)
    return _as_asked(unit_norm(signed_power(factor @ factor.transpose(1, 2), alpha)), vector)


def gaussian(features: Tensor, mask: Tensor | None, vector: bool, beta: float = 1., side: str = 'auto') -> Tensor:
    """``'gaussian'``: root of the Gaussian embedding, (C + 1) x (C + 1), see :mod:`mmgcp.ops.gaussian`."""
    factor = gaussian_factor(features, mask, beta)
    return _as_asked(spectral_pool(factor, Power(0.5), _smaller(side, factor)), vector)


def compact_bilinear(features: Tensor, mask: Tensor | None, vector: bool, sketch: tuple[Tensor, Tensor] = None,
                     out_channels: int = 8192, alpha: float = 0.5, center: bool = True) -> Tensor:
    """``'compact_bilinear'``: tensor sketch, signed power and l2 norm, see :mod:`mmgcp.ops.tensor_sketch`.

    A vector of ``out_channels`` whatever ``vector`` says. ``sketch`` is what :func:`mmgcp.ops.draw_sketch` returns;
    :class:`mmgcp.ops.CovariancePooling` draws and keeps it.
    """
    if sketch is None:
        raise ValueError("method='compact_bilinear' needs a sketch: draw it once by mmgcp.ops.draw_sketch and keep it, "
                         'or use mmgcp.ops.CovariancePooling')
    factor = covariance_factor(features, mask, center)
    return unit_norm(signed_power(tensor_sketch(factor @ factor.transpose(1, 2), *sketch, out_channels), alpha))


def dropcov(features: Tensor, mask: Tensor | None, vector: bool, drop_rate: float = 0.5, training: bool = False,
            center: bool = True) -> Tensor:
    """``'dropcov'``: plain covariance, of channels dropped at random while training, see :mod:`mmgcp.ops.dropcov`."""
    factor = covariance_factor(features, mask, center)
    if training:
        factor = drop_channels(factor, drop_rate)
    return _as_asked(factor @ factor.transpose(1, 2), vector)


METHODS = {
    'covariance': plain,
    'newton_schulz': newton_schulz,
    'eigh': eigh,
    'power': power,
    'log': log,
    'pade': pade,
    'signed_power': elementwise,
    'gaussian': gaussian,
    'compact_bilinear': compact_bilinear,
    'dropcov': dropcov,
}


def _is_number(value, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


def _is_count(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


CHECKS = {
    'num_iters': (_is_count, 'an integer of at least 1'),
    'degree': (_is_count, 'an integer of at least 1'),
    'out_channels': (_is_count, 'an integer of at least 1'),
    'alpha': (lambda value: _is_number(value, 0, 1) and value > 0, 'a number above 0, at most 1'),
    'shrinkage': (lambda value: _is_number(value, 0, 1) and value < 1, 'a number from 0 to below 1'),
    'drop_rate': (lambda value: _is_number(value, 0, 1) and value < 1, 'a number from 0 to below 1'),
    'beta': (lambda value: _is_number(value, 0, math.inf), 'a number of at least 0'),
    'center': (lambda value: isinstance(value, bool), 'True or False'),
    'side': (lambda value: value in SIDES, f'one of {", ".join(SIDES)}'),
    'pre_norm': (lambda value: value in PRE_NORMS, f'one of {", ".join(PRE_NORMS)}'),
}


def check_settings(method: str, **options) -> None:
    """Refuse methods that do not exist and options that are out of range.

    Raises:
        ValueError: If something is refused.
    """
    if method not in METHODS:
        raise ValueError(f"method='{method}' is unknown: choose one of {', '.join(METHODS)}")
    for name, value in options.items():
        if name in CHECKS and not CHECKS[name][0](value):
            raise ValueError(f'{name}={value!r} must be {CHECKS[name][1]}')


def _smaller(side: str, features: Tensor) -> str:
    if side != 'auto':
        return side
    return 'gram' if features.shape[2] < features.shape[1] else 'covariance'


def _as_asked(matrix: Tensor, vector: bool) -> Tensor:
    return triu_vector(matrix) if vector else matrix


def _shrunk(covariance: Tensor, shrinkage: float) -> Tensor:
    if not shrinkage:
        return covariance
    mean = covariance.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
    identity = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    return (1 - shrinkage) * covariance + shrinkage * mean * identity


def _normed(factor: Tensor, shrinkage: float) -> tuple[Tensor, Tensor, float]:
    """Factor of ``(1 - gamma) S / t``, the trace ``t`` (zero counts as 1), and the ``gamma / C`` to be added.

    Their sum times ``t`` is the shrunk covariance.
    """
    trace = factor.square().sum((-2, -1), keepdim=True)
    trace = torch.where(trace == 0, torch.ones_like(trace), trace)
    return factor * ((1 - shrinkage) / trace).sqrt(), trace, shrinkage / factor.shape[1]


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
