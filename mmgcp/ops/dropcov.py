"""Adaptive channel dropout in front of plain covariance pooling (DropCov, Wang et al., NeurIPS 2022)."""
import torch
from torch import Tensor

from .covariance import magnitude

HIGHEST_PROBABILITY = 0.95


def drop_probabilities(factor: Tensor, drop_rate: float) -> Tensor:
    """Probability that a channel of an image is dropped, in linear time.

    DropCov balances decorrelation and information: a channel is more likely to be dropped the more it correlates with
    the others, and less likely the more it carries. Its authors learn the second weight; here both are computed from
    the features, so that there is nothing to learn: the correlation ``r`` with the sum of all channels, and the
    variance ``w`` relative to the largest. The probabilities are proportional to ``(1 + |r|) (1 - w / 2)``.

    Args:
        factor (Tensor): (B, C, N) of the covariance ``F F^T``.
        drop_rate (float): Mean probability over the channels.

    Returns:
        Tensor: (B, C, 1), at most 0.95. Not differentiable.
    """
    factor = factor.detach() / magnitude(factor)
    variance = factor.square().sum(-1, keepdim=True)
    total = factor.sum(1, keepdim=True)
    spread = (variance * total.square().sum(-1, keepdim=True)).sqrt()
    tiny = torch.finfo(factor.dtype).tiny
    correlation = (factor * total).sum(-1, keepdim=True).abs() / spread.clamp(min=tiny)
    share = variance / variance.amax(1, keepdim=True).clamp(min=tiny)
    weight = (1 + correlation) * (1 - share / 2)
    return (drop_rate * weight / weight.mean(1, keepdim=True)).clamp(max=HIGHEST_PROBABILITY)


def drop_channels(factor: Tensor, drop_rate: float) -> Tensor:
    """Drop channels at random, and scale the others so that the expected covariances are those of the input.

    Args:
        factor (Tensor): (B, C, N).
        drop_rate (float): Mean probability over the channels.

    Returns:
        Tensor: (B, C, N).
    """
    kept = 1 - drop_probabilities(factor, drop_rate)
    return factor * (torch.bernoulli(kept.nan_to_num(1.)) / kept)  # of NaN, bernoulli would refuse the whole batch
