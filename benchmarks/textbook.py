"""Covariance pooling as published, as a baseline: batched, but with every operation that the papers spell out."""
import torch
from torch import Tensor

from mmgcp.ops import triu_vector


def isqrt_cov_vector(x: Tensor, num_iters: int = 5) -> Tensor:
    """iSQRT-COV (Li et al., CVPR 2018) from features (B, C, H, W) to the vector (B, C (C + 1) / 2)."""
    return triu_vector(_NewtonSchulz.apply(_covariance(x), num_iters))


def eigh_vector(x: Tensor) -> Tensor:
    """Exact root (Eq. 2) to the vector, with autograd through the eigendecomposition."""
    values, vectors = torch.linalg.eigh(_covariance(x))
    return triu_vector((vectors * values.clamp(min=0).sqrt()[:, None]) @ vectors.mT)


def _covariance(x: Tensor) -> Tensor:
    """Eq. 1, with a centring matrix for every image."""
    x = x.flatten(2)
    batch, _, pixels = x.shape
    centring = torch.eye(pixels, dtype=x.dtype, device=x.device) / pixels - 1 / pixels**2
    return x @ centring.repeat(batch, 1, 1) @ x.mT


class _NewtonSchulz(torch.autograd.Function):
    """Coupled iteration with all iterates stored, and the recursion of the paper backwards."""

    @staticmethod
    def forward(ctx, sigma: Tensor, num_iters: int) -> Tensor:
        identity = torch.eye(sigma.shape[-1], dtype=sigma.dtype, device=sigma.device).expand_as(sigma)
        trace = _trace(sigma)
        a = sigma / trace
        t = 0.5 * (3 * identity - a)
        ys, zs = [a @ t], [t]
        for _ in range(num_iters - 2):
            t = 0.5 * (3 * identity - zs[-1] @ ys[-1])
            y, z = ys[-1] @ t, t @ zs[-1]
            ys.append(y)
            zs.append(z)
        root = 0.5 * ys[-1] @ (3 * identity - zs[-1] @ ys[-1])
        ctx.save_for_backward(sigma, a, trace, root, *ys, *zs)
        return root * trace.sqrt()

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        sigma, a, trace, root, *iterates = ctx.saved_tensors
        ys, zs = iterates[:len(iterates) // 2], iterates[len(iterates) // 2:]
        identity = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device).expand_as(a)
        y, z = ys[-1], zs[-1]
        dy = grad * trace.sqrt()
        dy, dz = 0.5 * (dy @ (3 * identity - y @ z) - z @ y @ dy), -0.5 * y @ dy @ y
        for y, z in zip(ys[-2::-1], zs[-2::-1], strict=True):
            rest, zy = 3 * identity - y @ z, z @ y
            dy, dz = 0.5 * (dy @ rest - z @ dz @ z - zy @ dy), 0.5 * (rest @ dz - y @ dy @ y - dz @ zy)
        da = 0.5 * (dy @ (3 * identity - a) - dz - a @ dy)
        dtrace = _inner(grad, root) / (2 * trace.sqrt()) - _inner(da, sigma) / trace.square()
        return da / trace + dtrace * identity, None


def _trace(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((1, 2), keepdim=True)
