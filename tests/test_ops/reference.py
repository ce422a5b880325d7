"""Textbook formulations to test against, written for clarity, differentiated by autograd."""
import torch
from torch import Tensor


def covariance(x: Tensor) -> Tensor:
    """Eq. 1 with its centring matrix: (B, C, H, W) to (B, C, C)."""
    x = x.flatten(2)
    pixels = x.shape[2]
    centring = torch.eye(pixels, dtype=x.dtype, device=x.device) - 1 / pixels
    return x @ (centring / pixels) @ x.mT


def isqrt_cov(x: Tensor, num_iters: int = 5) -> Tensor:
    """iSQRT-COV as published: coupled C x C iteration between division and multiplication by the trace."""
    sigma = covariance(x)
    trace = sigma.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
    identity = torch.eye(sigma.shape[-1], dtype=x.dtype, device=x.device)
    y, z = sigma / trace, identity.expand_as(sigma)
    for _ in range(num_iters):
        t = (3 * identity - z @ y) / 2
        y, z = y @ t, t @ z
    return trace.sqrt() * y


def exact_root(x: Tensor) -> Tensor:
    """Eq. 2, with autograd through the eigendecomposition."""
    values, vectors = torch.linalg.eigh(covariance(x))
    return (vectors * values.clamp(min=0).sqrt()[:, None]) @ vectors.mT


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """||actual - expected|| / ||expected||, in float64."""
    expected = expected.double()
    return ((actual.double() - expected).norm() / expected.norm()).item()


def value_and_gradient(function, x: Tensor, weight: Tensor) -> tuple:
    """``function(x)`` and the gradient of its inner product with ``weight``."""
    out = function(x)
    return out.detach(), torch.autograd.grad(out, x, weight.to(out.dtype))[0]
