r"""Derivative of a matrix square root: the Lyapunov equation ``P W + W P = G``, with the root ``P``.

Its solution is a block of a matrix sign function (Roberts, 1980): the sign of ``[[P, G], [0, -P]]`` is
``[[I, 2 W], [0, -I]]``.
"""
from collections.abc import Callable

import torch
from torch import Tensor

from .compat import without_autocast
from .numerics import zero_as_one


def lyapunov(root: Tensor, rhs: Tensor, sign: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Solution ``W`` for the symmetric part of ``G``, differentiable any number of times.

    Args:
        root (Tensor): ``P`` (B, M, M), symmetric positive semidefinite.
        rhs (Tensor): ``G`` (B, M, M).
        sign (Callable): Computes that block, ``2 W``, from ``P``, of Frobenius norm 1 or 0, and ``G``.

    Returns:
        Tensor: (B, M, M), symmetric.
    """
    return _Lyapunov.apply(root, rhs, sign)


class _Lyapunov(torch.autograd.Function):

    generate_vmap_rule = True

    @staticmethod
    def forward(root: Tensor, rhs: Tensor, sign: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        # The sign does not depend on the scale, but its iterations converge for norms of at most 1.
        norm = zero_as_one(torch.linalg.matrix_norm(root, keepdim=True))
        return sign(root / norm, (rhs + rhs.mT) / (2 * norm)) / 2

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        root, _, ctx.sign = inputs
        ctx.save_for_backward(root, output)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        root, solution = ctx.saved_tensors
        with without_autocast(grad):
            grad_rhs = _Lyapunov.apply(root, grad, ctx.sign)
            # P dW + dW P = dG - dP W - W dP.
            return -(grad_rhs @ solution + solution @ grad_rhs), grad_rhs, None
