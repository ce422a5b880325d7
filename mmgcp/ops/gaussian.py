r"""Gaussian embedding (G2DeNet, Wang et al., CVPR 2017).

A Gaussian with mean ``mu`` and covariance ``S`` is identified with the square root of

    [[S + beta^2 mu mu^T,  beta mu],
     [beta mu^T,           1      ]],

which is the second moment of the features, with their mean scaled by ``beta`` and a constant channel appended.
"""
import torch
from torch import Tensor

from .covariance import centre, valid_pixels


def gaussian_factor(features: Tensor, mask: Tensor | None, beta: float) -> Tensor:
    """Factor ``F`` (B, C + 1, N) of the embedding, the root of ``F F^T``, for features (B, C, N), mask (B, 1, N)."""
    centred, valid = centre(features, mask), centre(features, mask, center=False)
    augmented = torch.cat([centred + beta * (valid - centred), torch.ones_like(features.narrow(1, 0, 1))], 1)
    if mask is not None:
        augmented = augmented.masked_fill(~mask, 0)
    return augmented * valid_pixels(features, mask)**-0.5
