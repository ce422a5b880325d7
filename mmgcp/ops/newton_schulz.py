r"""iSQRT-COV: covariance, trace, coupled Newton-Schulz steps (Li et al., CVPR 2018), computed on the cheaper side.

With ``X`` (C x N) the centred features, ``S = X X^T / N`` and ``t = tr S``, the method runs from ``Y = A = S / t``,
``Z = I``

    T = (3 I - Z Y) / 2,   Y <- Y T,   Z <- T Z,   and returns   sqrt(t) Y.

All iterates are polynomials in ``A``, hence symmetric and commuting: with ``s = Z Y`` the steps read
``T = (3 I - s) / 2``, ``Z <- Z T``, ``s <- s T^2``. ``Y = A Z``, and ``S^k X = X K^k`` with the Gram matrix
``K = X^T X / N`` (N x N), so that

    sqrt(t) Y(A) = X Z(K / t) X^T / (N sqrt(t))      exactly:

the steps may run on whichever of C and N is smaller. Below, *root* is the polynomial that they evaluate: ``Y(A)`` on
the covariance side, ``Z(K / t)`` on the Gram side, i.e. the same products from the starts ``A`` and ``I``.

The derivative of a matrix polynomial at a symmetric matrix is self-adjoint, so the gradient can be had in two ways:

- by going back through the kept ``T`` and ``Z`` of each step, four products a step: used for first derivatives;
- as the directional derivative at the incoming gradient, by the same steps on dual numbers ``(s, ds), (Z, dZ)``, seven
  products a step from the input alone: made of ordinary operations, so used where the gradient is differentiated again.
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
    return _NewtonSchulzPool.apply(features, num_iters, side)[0]


class _NewtonSchulzPool(torch.autograd.Function):
    """Returns the pooled features, and for backward the matrices T and Z of the steps."""

    generate_vmap_rule = True

    @staticmethod
    def forward(features: Tensor, num_iters: int, side: str) -> tuple[Tensor, ...]:
        centred = centre(features)
        normed, trace = _over_trace(_product(centred, side))
        ts, roots = _steps(normed, num_iters, None if side == 'gram' else normed)
        root = roots[-1]
        if side == 'gram':
            pooled = (centred @ (root * _gram_scale(trace, features))) @ centred.mT
        else:
            pooled = root * _covariance_scale(trace, features)
        return pooled, *ts, *roots

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        features, ctx.num_iters, ctx.side = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)  # else zeros would be made for what is not differentiable
        ctx.save_for_backward(features, *output[1:])

    @staticmethod
    def backward(ctx, grad: Tensor | None, *_) -> tuple[Tensor | None, None, None]:
        if grad is None:
            return None, None, None
        features, *kept = ctx.saved_tensors
        gradient = _gram_gradient if ctx.side == 'gram' else _covariance_gradient
        return gradient(features, grad, ctx.num_iters, kept), None, None


def centre(features: Tensor) -> Tensor:
    """Features (B, C, N) minus their mean over the N pixels."""
    return features - features.mean(-1, keepdim=True)


def _product(centred: Tensor, side: str) -> Tensor:
    """N times the Gram matrix, (B, N, N), or N times the covariance, (B, C, C)."""
    return centred.mT @ centred if side == 'gram' else centred @ centred.mT


def _over_trace(product: Tensor) -> tuple[Tensor, Tensor]:
    """Matrix over its trace, and the trace (B, 1, 1), where a zero trace (features without variance) counts as 1."""
    trace = product.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]
    trace = torch.where(trace == 0, torch.ones_like(trace), trace)
    return product / trace, trace


def _gram_scale(trace: Tensor, features: Tensor) -> Tensor:
    """1 / (N sqrt(t)), where ``trace`` is N t."""
    return (trace * features.shape[-1]).rsqrt()


def _covariance_scale(trace: Tensor, features: Tensor) -> Tensor:
    """sqrt(t), where ``trace`` is N t."""
    return (trace / features.shape[-1]).sqrt()


def _identity(like: Tensor) -> Tensor:
    return torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)


def _steps(s: Tensor, num_iters: int, start: Tensor | None) -> tuple[list[Tensor], list[Tensor]]:
    """Newton-Schulz steps.

    Args:
        s (Tensor): (B, M, M), symmetric, trace 1.
        num_iters (int): Steps.
        start (Tensor, optional): (B, M, M), a polynomial in ``s`` to start from. Default: the identity.

    Returns:
        tuple[list[Tensor], list[Tensor]]: ``T`` of each step, and what the start became after each.
    """
    identity = _identity(s)
    ts, roots = [], []
    for step in range(num_iters):
        t = torch.add(1.5 * identity, s, alpha=-0.5)
        if step < num_iters - 1:
            s = s @ (t @ t)
        root = roots[-1] if roots else start
        ts.append(t)
        roots.append(t if root is None else root @ t)
    return ts, roots


def _back_through_steps(grad: Tensor, ts: list[Tensor], roots: list[Tensor], start: Tensor | None) -> Tensor:
    """Gradient for the ``s`` that :func:`_steps` began with, from the symmetric gradient for the last root.

    With ``G`` the gradient for ``s T^2 = 3 T^2 - 2 T^3`` and ``P = T G``, that for ``T`` is ``W + W^T``,
    ``W = 3 P - T (2 P + P^T)``; that for ``s`` is ``-1/2`` of it. Not differentiable: works in place.

    Args:
        grad (Tensor): (B, M, M).
        ts (list[Tensor]): ``T`` of each step.
        roots (list[Tensor]): Root after each step.
        start (Tensor, optional): As in :func:`_steps`; it depends on ``s`` as ``s`` itself.
    """
    grad_t = None  # that of the step behind, to be multiplied by -1/2 for s
    for step in reversed(range(len(ts))):
        root = roots[step - 1] if step else start
        if grad_t is None:
            half = torch.zeros_like(grad)
        else:
            half = ts[step] @ grad_t
            half.baddbmm_(ts[step], torch.add(half.mT, half, alpha=2), beta=-1.5, alpha=0.5)
        half = half.add_(grad, alpha=0.5) if root is None else half.baddbmm_(root, grad, alpha=0.5)
        grad_t = half + half.mT
        if root is not None:
            grad = grad @ ts[step]
    grad_s = grad_t.mul_(-0.5)
    return grad_s if start is None else grad_s.add_(grad, alpha=0.5).add_(grad.mT, alpha=0.5)


def _steps_with_derivative(s: Tensor, ds: Tensor, num_iters: int, start: tuple | None) -> tuple[Tensor, Tensor]:
    """Last root of :func:`_steps`, and its derivative in the symmetric direction ``ds``, on dual numbers.

    ``s`` and ``ds`` do not commute. With ``P = T dT``, ``d(T^2) = P + P^T`` and ``d(T^3) = M + M^T``,
    ``M = T (P + P^T / 2)``, so that two products give the derivative of ``s T^2 = 3 T^2 - 2 T^3``.
    """
    identity = _identity(s)
    root = start
    for step in range(num_iters):
        t, dt = 1.5 * identity - 0.5 * s, -0.5 * ds
        root = (t, dt) if root is None else (root[0] @ t, root[1] @ t + root[0] @ dt)
        if step < num_iters - 1:
            p = t @ dt
            w = 3 * p - t @ (2 * p + p.mT)
            s, ds = s @ (t @ t), w + w.mT
    return root


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Frobenius inner product per image, (B, 1, 1)."""
    return (a * b).sum((-2, -1), keepdim=True)


def _gram_gradient(features: Tensor, grad: Tensor, num_iters: int, kept: list[Tensor]) -> Tensor:
    """Gradient for ``features`` of ``<G, X Z(K / t) X^T / (N sqrt(t))>``."""
    centred = centre(features)
    normed, trace = _over_trace(_product(centred, 'gram'))
    scale = _gram_scale(trace, features)
    grad_centred = (grad @ centred).baddbmm_(grad.mT, centred)
    direction = centred.mT @ grad_centred * (0.5 * scale)
    if torch.is_grad_enabled():
        z, dz = _steps_with_derivative(normed, direction, num_iters, None)
    else:
        z, dz = kept[-1], _back_through_steps(direction, kept[:num_iters], kept[num_iters:], None)
    dtrace = -(0.5 * _inner(direction, z) + _inner(dz, normed)) / trace
    # Subtracting the mean is its own adjoint. It is applied to the small matrices, from the right.
    from_root = centre(z * scale)
    from_product = centre(2 * (dz / trace + dtrace * _identity(normed)))
    return (grad_centred @ from_root).baddbmm_(centred, from_product)


def _covariance_gradient(features: Tensor, grad: Tensor, num_iters: int, kept: list[Tensor]) -> Tensor:
    """Gradient for ``features`` of ``<G, sqrt(t) Y(S / t)>``."""
    centred = centre(features)
    normed, trace = _over_trace(_product(centred, 'covariance'))
    scale = _covariance_scale(trace, features)
    direction = (grad + grad.mT) * (0.5 * scale)
    if torch.is_grad_enabled():
        y, dy = _steps_with_derivative(normed, direction, num_iters, (normed, direction))
    else:
        y, dy = kept[-1], _back_through_steps(direction, kept[:num_iters], kept[num_iters:], normed)
    dtrace = (0.5 * _inner(direction, y) - _inner(dy, normed)) / trace
    # The columns of the result have no mean over the pixels, like those of X: the adjoint of centring changes nothing.
    return (2 * (dy / trace + dtrace * _identity(normed))) @ centred
