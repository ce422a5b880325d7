r"""iSQRT-COV: covariance, trace, coupled Newton-Schulz steps (Li et al., CVPR 2018), computed on the cheaper side.

With ``F`` (C x N) the centred features, ``S = F F^T / N`` and ``t = tr S``, the method runs from ``Y = A = S / t``,
``Z = I``

    T = (3 I - Z Y) / 2,   Y <- Y T,   Z <- T Z,   and returns   sqrt(t) Y.

All iterates are polynomials in ``A``, hence symmetric and commuting, and ``Y = A Z``. Since ``S^k F = F K^k`` with the
Gram matrix ``K = F^T F / N`` (N x N),

    sqrt(t) Y(A) = sqrt(t) A Z(A) = F Z(K / t) F^T / (N sqrt(t))      exactly:

the steps may run on whichever of C and N is smaller. On the Gram side they carry ``Z``, on the covariance side ``Y``,
which is the result. Below, ``X`` is either of them. With ``R = Z Y`` (from ``R = A``), and where possible two at once,

    one step:    T = (3 I - R) / 2,                             X <- X T,   R <- R T^2
    two steps:   Q = T_1 T_2,                                   X <- X Q,   R <- R Q^2

where, in ``U = I - R``, completing the square twice,

    Q = I + U / 2 + 3 U^2 / 8 + 5 U^3 / 16 + U^4 / 16 = 1023 I / 1024 + 69 U / 128 + W^2 / 16,
    W = U^2 + 5 U / 2 - I / 8

takes two products. An odd number begins with the one step, which takes two: there ``R T^2 = (A T) T``, and ``A T`` is
``Y``. That makes 10 for 5 steps on either side, where the textbook has 15.

The derivative of a matrix polynomial at a symmetric matrix is self-adjoint: the gradient for ``X = p(A)`` at the
incoming gradient ``G`` is the derivative of ``p`` in the direction ``G``. So the backward pass is the forward pass once
more, on derivatives. The derivative of a square ``M^2`` takes one product, ``M dM`` plus its transpose, that of another
product two, and that of ``R Q^2 = Q R Q`` three, ``Q (dR Q / 2 + R dQ)`` plus its transpose: 13 for 5 steps on either
side, where the published recursion has 38. The same code serves forward-mode and, recorded, second derivatives.
"""
import math
from typing import NamedTuple

import torch
from torch import Tensor

from .compat import COMPILES_FUNCTIONS, is_compiling, is_exporting, without_autocast
from .covariance import centre, magnitude, valid_pixels
from .fused import fused_available, fused_root, fused_root_with_derivative
from .numerics import identity_like, trace_of
from .product import recorded_products
from .triu import symmetric_from_triu, triu_vector

# Coefficients of W and Q, see above.
W_SHIFT, Q_SHIFT, Q_SLOPE = -1 / 8, 1023 / 1024, 69 / 128
# Matrices up to this size take next to no time to compute again.
LARGEST_RECOMPUTED = 64


class Settings(NamedTuple):
    """Arguments of :func:`newton_schulz_pool` other than the data."""
    num_iters: int
    side: str
    center: bool
    pre_norm: str
    shrinkage: float
    vector: bool


def newton_schulz_pool(features: Tensor, mask: Tensor | None, num_iters: int, side: str, center: bool = True,
                       pre_norm: str = 'trace', shrinkage: float = 0., vector: bool = False) -> Tensor:
    """Covariance of ``features``, normalised by ``num_iters`` Newton-Schulz steps.

    Args:
        features (Tensor): (B, C, N), float32 or float64.
        mask (Tensor, optional): (B, 1, N), boolean.
        num_iters (int): Steps, at least 1. The paper uses 5, which do not converge for small eigenvalues: that
            truncation belongs to the method. No more than :func:`most_steps` are taken.
        side (str): ``'gram'`` runs the steps on N x N matrices, ``'covariance'`` on C x C ones.
        center (bool): Whether to subtract the mean.
        pre_norm (str): ``'trace'``, or ``'none'``: then the steps converge only for eigenvalues below 3.
        shrinkage (float): ``gamma`` of ``(1 - gamma) S + gamma t I / C``; needs the covariance side and ``'trace'``.
        vector (bool): Whether to return the upper triangle row by row.

    Returns:
        Tensor: (B, C, C), symmetric to rounding, or (B, C (C + 1) / 2). Zeros, with zero gradient, without variance.
    """
    settings = Settings(min(num_iters, most_steps(features.dtype)), side, center, pre_norm, shrinkage, vector)
    if _is_plain(features, side):
        return _forward(features, mask, settings)[0]
    function = _NewtonSchulzPool if is_compiling() else _NewtonSchulzPoolWithTangent
    return function.apply(features, mask, settings)[0]


def most_steps(dtype: torch.dtype) -> int:
    """Steps after which further ones only add rounding: 19 in float32, 44 in float64.

    A step multiplies small eigenvalues of ``R`` by 9/4. Rounding may make zero eigenvalues negative, and the steps
    diverge once these have grown to 1. By then the others have converged.
    """
    return int(-math.log(torch.finfo(dtype).eps) / math.log(9 / 4))


def _is_plain(features: Tensor, side: str) -> bool:
    """Whether ordinary operations suffice: no gradient is needed, or a graph is recorded for another runtime.

    Fused kernels have no derivative of their own: where they would be used, an autograd function wraps them.
    """
    if torch.jit.is_tracing() or is_exporting() or is_compiling() and not COMPILES_FUNCTIONS:
        return True
    if features.requires_grad and torch.is_grad_enabled():
        return False
    return is_compiling() or not fused_available(features if side == 'gram' else features.mT)


class _NewtonSchulzPool(torch.autograd.Function):
    """Returns the pooled features, and what the backward pass can reuse: see :func:`_forward`.

    The result is proportional to the features: the gradient does not depend on their scale.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(features: Tensor, mask: Tensor | None, settings: Settings) -> tuple[Tensor, ...]:
        pooled, scale, normed, trace, iterates, others = _forward(features, mask, settings, fused=True)
        if not iterates or _is_recomputed(features, normed):
            return pooled, scale, normed, trace
        if settings.side == 'covariance':
            return pooled, scale, normed, trace, *iterates
        return pooled, scale, normed, trace, *iterates, *others

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        features, mask, ctx.settings = inputs
        ctx.num_kept = len(output) - 1
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)  # no zeros for outputs that are not differentiable
        # The same tensors: vmap knows one list of dimensions for both.
        ctx.save_for_backward(features, mask, *output[1:])
        ctx.save_for_forward(features, mask, *output[1:])

    @staticmethod
    def backward(ctx, grad: Tensor | None, *_) -> tuple[Tensor | None, None, None]:
        if grad is None:
            return None, None, None
        features, mask, scale, *kept = ctx.saved_tensors
        gradient = _gram_gradient if ctx.settings.side == 'gram' else _covariance_gradient
        with without_autocast(grad), recorded_products():
            centred, count = centre(features, mask, ctx.settings.center) / scale, valid_pixels(features, mask)
            return gradient(centred, count, grad, ctx.settings, kept), None, None


class _NewtonSchulzPoolWithTangent(_NewtonSchulzPool):
    """With forward-mode derivatives, which Hessians need and torch.compile rejects."""

    generate_vmap_rule = True

    @staticmethod
    def jvp(ctx, tangent: Tensor, *_) -> tuple:
        features, mask, *_ = ctx.saved_tensors
        _, change = torch.func.jvp(lambda x: _forward(x, mask, ctx.settings)[0], (features, ), (tangent, ))
        return change, *(None, ) * ctx.num_kept


def _forward(features: Tensor, mask: Tensor | None, settings: Settings, fused: bool = False) -> tuple:
    """Pooled features, the scale taken out of the features, ``A``, the trace, and the rest of :func:`_steps`."""
    centred, count = centre(features, mask, settings.center), valid_pixels(features, mask)
    if settings.pre_norm == 'trace':
        scale = magnitude(centred, settings.center)
    else:
        scale = torch.ones_like(centred[:, :1, :1])  # without it, the steps are not homogeneous
    centred = centred / scale
    normed, trace = _normed(centred, count, settings)
    root, iterates, others = _steps(normed, settings.num_iters, settings.side, fused)
    if settings.side == 'gram':
        pooled = (centred @ (root * (_gram_scale(trace, count) * scale))) @ centred.transpose(1, 2)
    else:
        pooled = root * (_covariance_scale(trace, count) * scale)
    return triu_vector(pooled) if settings.vector else pooled, scale, normed, trace, iterates, others


def _is_recomputed(features: Tensor, normed: Tensor) -> bool:
    """Whether the backward pass recomputes the steps from ``A`` instead of keeping the matrices of each step.

    The rule trades time for memory, as measured in docs/performance.md: small matrices are kept if all of them, nine
    for 5 steps, take at most half the memory of one covariance; large ones always.
    """
    size, channels = normed.shape[-1], features.shape[1]
    return size <= LARGEST_RECOMPUTED and 20 * size**2 > channels**2


def _normed(centred: Tensor, count: Tensor | int, settings: Settings) -> tuple[Tensor, Tensor]:
    """``A`` (B, M, M) on the side of the settings, and the trace N t (B, 1, 1) by which the product was divided.

    The trace is clamped to the square of the machine precision, which only features without variance fall below: the
    largest entry of ``centred`` is 1 or, for subnormal features, at least the machine precision. Without
    pre-normalisation N takes the place of N t.
    """
    transposed = centred.transpose(1, 2)
    product = transposed @ centred if settings.side == 'gram' else centred @ transposed
    if settings.pre_norm == 'trace':
        least = torch.finfo(product.dtype).eps**2
        trace = trace_of(product).clamp(min=least)
    else:
        trace = torch.ones_like(product[:, :1, :1]) * count
    normed = product / trace
    if settings.shrinkage:  # zero stays zero
        mean = (trace > least) * (settings.shrinkage / product.shape[-1])
        normed = (1 - settings.shrinkage) * normed + mean * identity_like(product)
    return normed, trace


def _gram_scale(trace: Tensor, count: Tensor | int) -> Tensor:
    """1 / (N sqrt(t)), where ``trace`` is N t."""
    return (trace * count).rsqrt()


def _covariance_scale(trace: Tensor, count: Tensor | int) -> Tensor:
    """sqrt(t), where ``trace`` is N t."""
    return (trace / count).sqrt()


def _steps(normed: Tensor, num_iters: int, side: str = 'gram',
           fused: bool = False) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Newton-Schulz steps: one if their number is odd, then two at a time.

    Args:
        normed (Tensor): ``A``, (B, M, M), symmetric.
        num_iters (int): Steps.
        side (str): ``'gram'`` for ``X = Z``, ``'covariance'`` for ``X = Y``.
        fused (bool): Whether to use the fused kernel where available; it keeps no iterates.

    Returns:
        tuple[Tensor, list[Tensor], list[Tensor]]: ``X``, and for :func:`_derivative` the iterates ``R``, ``Q`` and
        ``X``, and the others, ``W`` and the first ``Y``, which take one product each from them.
    """
    if fused and fused_available(normed):
        root = fused_root(normed, num_iters)
        return root if side == 'gram' else normed @ root, [], []
    r, identity = normed, identity_like(normed)
    root, iterates, others = None if side == 'gram' else normed, [], []
    if num_iters % 2:
        t = torch.add(1.5 * identity, r, alpha=-0.5)
        root = t if root is None else r @ t
        if side == 'covariance':
            others.append(root)
        if num_iters > 1:
            r = (r @ t if side == 'gram' else root) @ t
            iterates.append(r)
    for pairs_left in reversed(range(num_iters // 2)):
        u = identity - r
        w = _w(u, identity)
        q = torch.baddbmm(torch.add(Q_SHIFT * identity, u, alpha=Q_SLOPE), w, w, alpha=1 / 16)
        root = q if root is None else root @ q
        iterates += [q, root]
        others.append(w)
        if pairs_left:
            r = (r @ q) @ q
            iterates.append(r)
    return root, iterates, others


def _w(u: Tensor, identity: Tensor) -> Tensor:
    """``W`` of the module's docstring, for ``U``."""
    return torch.baddbmm(torch.add(W_SHIFT * identity, u, alpha=2.5), u, u)


def _derivative(normed: Tensor, iterates: list[Tensor], others: list[Tensor], direction: Tensor, num_iters: int,
                side: str) -> Tensor:
    """Derivative of ``X`` with respect to ``A`` in a symmetric direction; arguments as in :func:`_steps`.

    With ``P = U dU``, ``d(U^2) = P + P^T`` and ``d(U^3) = M + M^T``, ``M = U (P + P^T / 2)``. An odd first step goes
    through ``R T = (3 R - R^2) / 2`` and ``R T^2 = (9 R - 6 R^2 + R^3) / 4``. What ``others`` lacks is computed again.
    """
    r, dr, identity = normed, direction, identity_like(normed)
    root, droot = (None, None) if side == 'gram' else (r, dr)
    iterates, others = list(iterates), list(others)
    if num_iters % 2:
        root, droot = torch.add(1.5 * identity, r, alpha=-0.5), -0.5 * dr
        if side == 'covariance' or num_iters > 1:
            p = r @ dr
        if side == 'covariance':
            root = others.pop(0) if others else r @ root
            droot = torch.add(1.5 * dr, p + p.mT, alpha=-0.5)
        if num_iters > 1:
            half = torch.baddbmm(p, r, torch.add(p, p.mT, alpha=0.5), beta=-1.5, alpha=0.25)
            r, dr = iterates.pop(0), torch.add(half + half.mT, dr, alpha=2.25)
    for pairs_left in reversed(range(num_iters // 2)):
        u = identity - r
        w = others.pop(0) if others else _w(u, identity)
        q, next_root = iterates.pop(0), iterates.pop(0)
        p = u @ dr  # -dW = P + P^T + 5 dR / 2
        p = w @ torch.add(p + p.mT, dr, alpha=2.5)
        dq = torch.add(p + p.mT, dr, alpha=16 * Q_SLOPE)  # -16 dQ
        droot = dq * (-1 / 16) if root is None else torch.baddbmm(droot @ q, root, dq, alpha=-1 / 16)
        root = next_root
        if pairs_left:
            half = q @ torch.baddbmm(dr @ q, r, dq, beta=0.5, alpha=-1 / 16)
            r, dr = iterates.pop(0), half + half.mT
    return droot


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Frobenius inner product per image, (B, 1, 1)."""
    rows = a.shape[-2] * a.shape[-1]  # flatten has no rule for the vmap of torch.autograd.functional
    return a.reshape(-1, 1, rows) @ b.reshape(-1, rows, 1)


def _twice_symmetric(grad: Tensor, settings: Settings) -> Tensor:
    """2 G, where G is the symmetric gradient for the pooled matrix."""
    if not settings.vector:
        return grad + grad.mT
    doubled = symmetric_from_triu(grad)
    doubled.diagonal(dim1=-2, dim2=-1).mul_(2)
    return doubled


def _normed_again(centred: Tensor, count: Tensor | int, settings: Settings, kept: list[Tensor]) -> tuple:
    """Return ``A``, the trace and the kept steps; recomputed where the gradient is itself differentiated."""
    normed, trace, *steps = _normed(centred, count, settings) if torch.is_grad_enabled() else kept
    return normed, trace, steps


def _root_and_derivative(normed: Tensor, kept: list[Tensor], direction: Tensor, settings: Settings) -> tuple:
    """``X`` and its derivative in the symmetric direction, from the kept steps if there are any."""
    num_iters, side = settings.num_iters, settings.side
    if not torch.is_grad_enabled() and fused_available(normed):
        root, change = fused_root_with_derivative(normed, direction, num_iters)
        if side == 'gram':
            return root, change
        return normed @ root, torch.baddbmm(direction @ root, normed, change)
    if kept:
        pairs, odd = divmod(num_iters, 2)
        num_iterates = 3 * pairs - 1 + odd
        root, iterates, others = kept[num_iterates - 1], kept[:num_iterates], kept[num_iterates:]
    else:
        root, iterates, others = _steps(normed, num_iters, side)
    return root, _derivative(normed, iterates, others, direction, num_iters, side)


def _gram_gradient(centred: Tensor, count: Tensor | int, grad: Tensor, settings: Settings, kept: list) -> Tensor:
    """Gradient for the features of ``<G, F Z(K / t) F^T / (N sqrt(t))>``."""
    normed, trace, kept = _normed_again(centred, count, settings, kept)
    scale = _gram_scale(trace, count)
    weighted = _twice_symmetric(grad, settings) @ centred
    direction = centred.mT @ weighted  # times 2 / scale
    root, change = _root_and_derivative(normed, kept, direction, settings)
    from_root, from_product = root * scale, change * (scale / trace)
    if settings.pre_norm == 'trace':
        twice_dtrace = (_inner(change, normed) + 0.5 * _inner(direction, root)) * (scale / trace)
        from_product.diagonal(dim1=-2, dim2=-1).sub_(twice_dtrace[..., 0])
    # F times polynomials in F^T F and H has rows of zero mean, as F has: the adjoint of centring changes nothing.
    return torch.baddbmm(weighted @ from_root, centred, from_product)


def _covariance_gradient(centred: Tensor, count: Tensor | int, grad: Tensor, settings: Settings, kept: list) -> Tensor:
    """Gradient for the features of ``<G, sqrt(t) Y(A)>``."""
    normed, trace, kept = _normed_again(centred, count, settings, kept)
    direction = _twice_symmetric(grad, settings) * (0.5 * _covariance_scale(trace, count))
    root, change = _root_and_derivative(normed, kept, direction, settings)
    from_product = change * ((1 - settings.shrinkage) * 2 / trace)
    if settings.pre_norm == 'trace':
        # A contains the identity of the shrinkage, which does not depend on the trace.
        inner = _inner(change, normed) - settings.shrinkage / normed.shape[-1] * trace_of(change)
        twice_dtrace = (_inner(direction, root) - 2 * inner) / trace
        from_product.diagonal(dim1=-2, dim2=-1).add_(twice_dtrace[..., 0])
    # As above, the adjoint of centring changes nothing.
    return from_product @ centred
