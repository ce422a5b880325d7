r"""Adaptive channel dropout before plain covariance pooling (DropCov, Wang et al., NeurIPS 2022).

In training, for a batch of features ``X`` with C channels, whose means over the pixels are ``m``,

    y     =  softmax(k * m)                            the gate: a convolution over the channels, of width 3
    X     <- (1 + y) X
    rate  =  1 - 10 / log2(C) mean cos(y, S 1)         clamped to [0, 1]; S 1 are the row sums of X's covariance

and whole channels of ``X`` are dropped with probability ``rate`` and the others divided by ``1 - rate``. The batch
shares one rate, which is not differentiated. The more the gate agrees with the correlations, the fewer channels are
dropped. Outside training the method is the covariance of ``X`` itself.
"""
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .covariance import centre, covariance_factor, magnitude, valid_pixels
from .numerics import zero_as_one

GATE_WIDTH = 3


def draw_gate(generator: torch.Generator | None = None) -> Tensor:
    """Draw the initial weights ``k`` of the gate, (3, ), as PyTorch draws those of a convolution: uniform.

    Args:
        generator (torch.Generator, optional): Source of random numbers. Default: PyTorch's.

    Examples:
        >>> from mmgcp.ops import covariance_pool
        >>> gate = draw_gate().requires_grad_()
        >>> covariance_pool(torch.rand(2, 16, 7, 7), 'dropcov', gate=(gate, ), training=True).shape
        torch.Size([2, 16, 16])
    """
    return torch.empty(GATE_WIDTH).uniform_(-GATE_WIDTH**-0.5, GATE_WIDTH**-0.5, generator=generator)


def dropped_factor(features: Tensor, mask: Tensor | None, gate: Tensor, center: bool) -> Tensor:
    """:func:`mmgcp.ops.covariance.covariance_factor` of the gated features, after dropout."""
    weights = channel_weights(features, mask, gate)
    factor = covariance_factor(features, mask, center) * (1 + weights)
    rate = drop_rate(factor, weights)
    return factor * ((torch.rand_like(weights) >= rate) / zero_as_one(1 - rate))


def channel_weights(features: Tensor, mask: Tensor | None, gate: Tensor) -> Tensor:
    """``y`` (B, C, 1) of the features (B, C, N), over the valid pixels of the mask (B, 1, N)."""
    if gate.shape != (GATE_WIDTH, ):
        raise ValueError(f'the gate has the shape {tuple(gate.shape)}, not ({GATE_WIDTH}, ): draw it by draw_gate')
    means = centre(features, mask, center=False).sum(-1, keepdim=True) / valid_pixels(features, mask)
    neighbours = F.pad(means, (0, 0, GATE_WIDTH // 2, GATE_WIDTH // 2)).unfold(1, GATE_WIDTH, 1)
    # Element by element: autocast would run the derivatives of a convolution in half precision.
    return (neighbours * gate.to(means)).sum(-1).softmax(1)


def drop_rate(factor: Tensor, weights: Tensor) -> Tensor:
    """Rate of the batch, a scalar, from the factor (B, C, N) of the gated features and ``y`` (B, C, 1).

    Images without variance or with non-finite features, whose cosine is undefined, are ignored.
    """
    factor, weights = factor.detach() / magnitude(factor, center=False), weights.detach()
    sums = (factor * factor.sum(1, keepdim=True)).sum(-1, keepdim=True)
    cosines = (weights * sums).sum(1) / (weights.norm(dim=1) * sums.norm(dim=1))
    rate = 1 - 10 / math.log2(max(factor.shape[1], 2)) * cosines.nanmean()
    return rate.clamp(0, 1).nan_to_num(0.)
