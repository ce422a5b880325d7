r"""Features, masks and the sample covariance.

Every method works on the *factor* ``F`` (C x N) of the covariance: the features minus their mean over the N valid
pixels, divided by the square root of N, so that ``S = F F^T`` (Eq. 1) and the Gram matrix is ``K = F^T F``.

Forward passes use ``transpose`` in place of ``mT``, which ONNX lacks.
"""
import torch
from torch import Tensor


def as_features(x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """Feature maps (B, C, H, W) or tokens (B, N, C) as (B, C, N), and the mask (B, H, W) or (B, N) as (B, 1, N)."""
    if x.dim() not in (3, 4):
        raise ValueError('covariance pooling takes feature maps of shape (B, C, H, W) or tokens of shape (B, N, C), '
                         f'got {tuple(x.shape)}')
    if not x.is_floating_point():
        raise TypeError(f'covariance pooling takes real floating-point features, got {x.dtype}')
    if 0 in x.shape[1:]:
        raise ValueError(f'covariance pooling needs at least one channel and one pixel, got the shape {tuple(x.shape)}')
    features = x.flatten(2) if x.dim() == 4 else x.transpose(1, 2)
    if mask is None:
        return features, None
    expected = (x.shape[0], *x.shape[2:]) if x.dim() == 4 else tuple(x.shape[:2])
    if mask.dtype != torch.bool:
        raise TypeError(f'the mask has to be boolean, true where a pixel is valid, got {mask.dtype}')
    if tuple(mask.shape) != expected:
        raise ValueError(f'the mask of features of shape {tuple(x.shape)} has the shape {expected}, '
                         f'got {tuple(mask.shape)}')
    return features, mask.flatten(1)[:, None]


def centre(features: Tensor, mask: Tensor | None = None, center: bool = True) -> Tensor:
    """Features (B, C, N) minus, if ``center``, their mean over the valid pixels; zero at the others.

    The first valid pixel is subtracted first, so that constant channels give exact zeros, which a rounded mean may not.
    """
    if center:
        features = features - _first_valid(features.detach(), mask)
    if mask is not None:
        features = features.masked_fill(~mask, 0)
    if not center:
        return features
    if mask is None:
        return features - features.mean(-1, keepdim=True)
    return (features - features.sum(-1, keepdim=True) / valid_pixels(features, mask)).masked_fill(~mask, 0)


def _first_valid(features: Tensor, mask: Tensor | None) -> Tensor:
    """Features (B, C, 1) of the first valid pixel, or of the first one if none is valid."""
    if mask is None:
        return features[..., :1]
    first = mask.long().argmax(-1, keepdim=True)
    return features.gather(-1, first.expand(-1, features.shape[1], -1))


def valid_pixels(features: Tensor, mask: Tensor | None) -> Tensor | int:
    """Number of valid pixels: an integer, or with a mask (B, 1, 1) in the features' dtype, at least 1."""
    if mask is None:
        return features.shape[-1]
    return mask.sum(-1, keepdim=True, dtype=features.dtype).clamp(min=1)


def covariance_factor(features: Tensor, mask: Tensor | None = None, center: bool = True) -> Tensor:
    """Factor ``F`` (B, C, N) of ``S = F F^T`` (Eq. 1) for features (B, C, N) and a mask (B, 1, N).

    Without ``center``, ``S`` is the second moment. ``F`` is zero for an image without valid pixels.
    """
    return centre(features, mask, center) * valid_pixels(features, mask)**-0.5


def magnitude(factor: Tensor, center: bool = True) -> Tensor:
    """Scale (B, 1, 1) by which each image is divided so that products neither under- nor overflow; not differentiated.

    It is the largest magnitude or, for centred features, the largest entry: as their mean is zero, this is at least
    1 / N of the largest magnitude. For images of zeros it is the smallest normal number.
    """
    factor = factor.detach()
    largest = (factor if center else factor.abs()).amax((1, 2), keepdim=True)
    return largest.clamp(min=torch.finfo(factor.dtype).tiny)


def unit_factor(features: Tensor, mask: Tensor | None = None, center: bool = True) -> tuple[Tensor, Tensor]:
    """Return :func:`covariance_factor` divided by its :func:`magnitude`, and the magnitude, (B, 1, 1)."""
    factor = covariance_factor(features, mask, center)
    scale = magnitude(factor, center)
    return factor.div_(scale), scale
