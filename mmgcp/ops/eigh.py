r"""Exact matrix square root of the covariance (Eq. 2) through eigenvalues, with gradients that stay finite.

The textbook gradient (Eq. 6) divides by differences of eigenvalues. For the square root that quotient is
``(sqrt(l_i) - sqrt(l_j)) / (l_i - l_j) = 1 / (sqrt(l_i) + sqrt(l_j))``, and the gradient is the solution ``W`` of the
Lyapunov equation ``P W + W P = G`` with ``P`` the root: regular where eigenvalues coincide. Where both eigenvalues are
zero the root has no derivative, and the entry is set to zero: the subgradient of least norm.
"""

import torch
from torch import Tensor

from .newton_schulz import centre


def eigh_pool(features: Tensor, side: str) -> Tensor:
    """Exact square root of the covariance of ``features``.

    Args:
        features (Tensor): (B, C, N), float32 or float64.
        side (str): ``'covariance'`` decomposes the C x C covariance ``S``, ``'gram'`` the N x N Gram matrix ``K`` and
            uses ``S^(1/2) = X_c K^(-1/2) X_c^T`` on the non-zero spectrum.

    Returns:
        Tensor: (B, C, C), symmetric to rounding.
    """
    centred = centre(features) * features.shape[-1]**-0.5
    if side == 'covariance':
        return symmetric_sqrt(centred @ centred.mT)[0]
    return centred @ symmetric_sqrt(centred.mT @ centred)[1] @ centred.mT


def symmetric_sqrt(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Square root and inverse square root of symmetric positive semidefinite matrices.

    Eigenvalues that are zero to rounding count as zero in both: the inverse is the Moore-Penrose one.

    Args:
        matrix (Tensor): (B, M, M), float32 or float64.

    Returns:
        tuple[Tensor, Tensor]: Root and inverse root, each (B, M, M). Differentiable any number of times.
    """
    root, inverse, _, _ = _SymmetricSqrt.apply(matrix)
    return root, inverse


class _SymmetricSqrt(torch.autograd.Function):
    """Root and inverse root, with the eigenvectors and the eigenvalues of the root as constants for the backward."""

    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        eigenvalues, vectors = torch.linalg.eigh(matrix)
        rounding = torch.finfo(matrix.dtype).eps * matrix.shape[-1] * eigenvalues[..., -1:]
        kept = eigenvalues > rounding
        values = torch.where(kept, eigenvalues, torch.zeros_like(eigenvalues)).sqrt()
        inverses = torch.where(kept, values, torch.ones_like(values)).reciprocal() * kept
        return _spectral(vectors, values), _spectral(vectors, inverses), vectors, values

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(*output)
        ctx.mark_non_differentiable(*output[2:])

    @staticmethod
    def backward(ctx, grad_root: Tensor, grad_inverse: Tensor, *_) -> Tensor:
        root, inverse, vectors, values = ctx.saved_tensors
        # On the kept spectrum d(P^-1) = -P^-1 dP P^-1.
        grad = grad_root - inverse @ grad_inverse @ inverse
        return _Lyapunov.apply(root, vectors, values, (grad + grad.mT) / 2)


class _Lyapunov(torch.autograd.Function):
    """Solution W of P W + W P = G, with P given by its eigenvectors and eigenvalues; zero in the null space of P."""

    generate_vmap_rule = True

    @staticmethod
    def forward(root: Tensor, vectors: Tensor, values: Tensor, rhs: Tensor) -> Tensor:
        sums = values[..., :, None] + values[..., None, :]
        quotients = torch.where(sums > 0, sums, torch.full_like(sums, torch.inf)).reciprocal()
        return vectors @ (vectors.mT @ rhs @ vectors * quotients) @ vectors.mT

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        root, vectors, values, _ = inputs
        ctx.save_for_backward(root, vectors, values, output)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None, Tensor]:
        root, vectors, values, solution = ctx.saved_tensors
        grad_rhs = _Lyapunov.apply(root, vectors, values, (grad + grad.mT) / 2)
        # P dW + dW P = dG - dP W - W dP.
        grad_root = -(grad_rhs @ solution + solution @ grad_rhs)
        return grad_root, None, None, grad_rhs


def _spectral(vectors: Tensor, values: Tensor) -> Tensor:
    """U diag(values) U^T, (B, M, M)."""
    return (vectors * values[..., None, :]) @ vectors.mT
