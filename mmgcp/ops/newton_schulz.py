r"""iSQRT-COV: covariance, trace, coupled Newton-Schulz steps (Li et al., CVPR 2018), computed on the cheaper side.

With ``X_c`` (C x N) the centred features over sqrt(N), ``S = X_c X_c^T`` and ``t = tr S``, the method runs from
``Y_0 = A = S / t``, ``Z_0 = I``

    T = (3 I - Z Y) / 2,   Y <- Y T,   Z <- T Z,   and returns   sqrt(t) Y.

All iterates are polynomials in ``A``, hence symmetric and commuting. With ``s = Z Y`` a step needs three products:

    Z <- 3/2 Z - 1/2 Z s,   s <- s (9/4 I - 3/2 s + 1/4 s^2).

``Y = A Z``, and ``S^k X_c = X_c K^k`` with the Gram matrix ``K = X_c^T X_c`` (N x N), so that exactly

    sqrt(t) Y(A) = X_c Z(K / t) X_c^T / sqrt(t):

the steps may run on whichever of C and N is smaller. The derivative of a matrix polynomial at a symmetric matrix is
self-adjoint: the backward product with a gradient ``G`` is the directional derivative at ``G``. Backward therefore runs
the same steps on dual numbers ``(s, ds), (Z, dZ)`` from the saved input alone; being made of ordinary operations it can
be differentiated again.
"""

import torch
from torch import Tensor


def newton_schulz_pool(features: Tensor, num_iters: int, side: str) -> Tensor:
    """Covariance of ``features``, normalised by ``num_iters`` Newton-Schulz steps.

    Args:
        features (Tensor): (B, C, N), float32 or float64.
        num_iters (int): Steps, at least 1. The paper uses 5, which do not converge for small eigenvalues: that
            truncation belongs to the method.
        side (str): ``'gram'`` runs the steps on N x N matrices, ``'covariance'`` on C x C ones.

    Returns:
        Tensor: (B, C, C), symmetric to rounding. Zeros, with zero gradient, where the features have no variance.
    """
    return _NewtonSchulzPool.apply(features, num_iters, side)


class _NewtonSchulzPool(torch.autograd.Function):
    """Keeps nothing but its input between forward and backward."""

    generate_vmap_rule = True

    @staticmethod
    def forward(features: Tensor, num_iters: int, side: str) -> Tensor:
        centred = centre(features)
        if side == 'gram':
            normed, trace = _over_trace(centred.mT @ centred)
            z = _polynomial(normed, num_iters)
            return (centred @ (z * trace.rsqrt())) @ centred.mT
        normed, trace = _over_trace(centred @ centred.mT)
        return _polynomial(normed, num_iters, normed) * trace.sqrt()

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        features, ctx.num_iters, ctx.side = inputs
        ctx.save_for_backward(features)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        features, = ctx.saved_tensors
        gradient = _gram_gradient if ctx.side == 'gram' else _covariance_gradient
        # Backward may be called inside an autocast region, like forward.
        with torch.autocast(features.device.type, enabled=False):
            grad_centred = gradient(centre(features), (grad + grad.mT) / 2, ctx.num_iters)
            # Centring is a projection, its own adjoint.
            return centre(grad_centred), None, None


def centre(features: Tensor) -> Tensor:
    """Features minus their mean over the N pixels, over sqrt(N): ``S = X_c X_c^T`` is the covariance of Eq. 1."""
    return (features - features.mean(-1, keepdim=True)) * features.shape[-1]**-0.5


def _over_trace(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Matrix over its trace, and the trace (B, 1, 1), where a zero trace (features without variance) counts as 1."""
    trace = matrix.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]
    trace = torch.where(trace == 0, torch.ones_like(trace), trace)
    return matrix / trace, trace


def _polynomial(s: Tensor, num_iters: int, z: Tensor | None = None) -> Tensor:
    """``Z`` after the steps from ``s``; with ``z = s`` as its start in place of the identity, ``Y = s Z``.

    Args:
        s (Tensor): (B, M, M), symmetric, trace 1.
        num_iters (int): Steps.
        z (Tensor, optional): (B, M, M), a polynomial in ``s``. Default: the identity.

    Returns:
        Tensor: (B, M, M).
    """
    identity = torch.eye(s.shape[-1], dtype=s.dtype, device=s.device)
    for step in range(num_iters):
        z = 1.5 * identity - 0.5 * s if z is None else torch.baddbmm(z, z, s, beta=1.5, alpha=-0.5)
        if step < num_iters - 1:
            s = s @ torch.baddbmm(s, s, s, beta=-1.5, alpha=0.25).add(identity, alpha=2.25)
    return z


def _polynomial_with_derivative(s: Tensor,
                                ds: Tensor,
                                num_iters: int,
                                z: Tensor | None = None,
                                dz: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """``_polynomial`` and its directional derivative, by the same steps on dual numbers.

    ``s`` and ``ds`` are symmetric but do not commute. With ``P = s ds``, two products give the derivative of a step:
    ``d(s^2) = P + P^T`` and ``d(s^3) = M + M^T`` with ``M = s (P + P^T / 2)``.

    Args:
        s (Tensor): (B, M, M), symmetric, trace 1.
        ds (Tensor): (B, M, M), the direction, symmetric.
        num_iters (int): Steps.
        z (Tensor, optional): As in :func:`_polynomial`.
        dz (Tensor, optional): Derivative of ``z``.

    Returns:
        tuple[Tensor, Tensor]: ``Z`` and ``dZ``, each (B, M, M).
    """
    identity = torch.eye(s.shape[-1], dtype=s.dtype, device=s.device)
    for step in range(num_iters):
        if z is None:
            z, dz = 1.5 * identity - 0.5 * s, -0.5 * ds
        else:
            dz = torch.baddbmm(torch.baddbmm(dz, dz, s, beta=1.5, alpha=-0.5), z, ds, alpha=-0.5)
            z = torch.baddbmm(z, z, s, beta=1.5, alpha=-0.5)
        if step < num_iters - 1:
            p = s @ ds
            w = torch.baddbmm(p, s, p + 0.5 * p.mT, beta=-1.5, alpha=0.25)
            ds = torch.add(w + w.mT, ds, alpha=2.25)
            s = s @ torch.baddbmm(s, s, s, beta=-1.5, alpha=0.25).add(identity, alpha=2.25)
    return z, dz


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Frobenius inner product per image, (B, 1, 1)."""
    return (a * b).sum((-2, -1), keepdim=True)


def _gram_gradient(centred: Tensor, grad: Tensor, num_iters: int) -> Tensor:
    """Gradient for ``X_c`` (B, C, N) of ``<G, X_c Z(K / t) X_c^T / sqrt(t)>`` with ``G`` (B, C, C) symmetric."""
    normed, trace = _over_trace(centred.mT @ centred)
    grad_centred = grad @ centred
    direction = centred.mT @ grad_centred * trace.rsqrt()
    z, dz = _polynomial_with_derivative(normed, direction, num_iters)
    dtrace = -(0.5 * _inner(direction, z) + _inner(dz, normed)) / trace
    identity = torch.eye(normed.shape[-1], dtype=normed.dtype, device=normed.device)
    return 2 * torch.baddbmm(grad_centred @ (z * trace.rsqrt()), centred, dz / trace + dtrace * identity)


def _covariance_gradient(centred: Tensor, grad: Tensor, num_iters: int) -> Tensor:
    """Gradient for ``X_c`` (B, C, N) of ``<G, sqrt(t) Y(S / t)>`` with ``G`` (B, C, C) symmetric."""
    normed, trace = _over_trace(centred @ centred.mT)
    y, dy = _polynomial_with_derivative(normed, grad, num_iters, normed, grad)
    dtrace = (0.5 * _inner(grad, y) - _inner(dy, normed)) * trace.rsqrt()
    identity = torch.eye(normed.shape[-1], dtype=normed.dtype, device=normed.device)
    return 2 * (dy * trace.rsqrt() + dtrace * identity) @ centred
