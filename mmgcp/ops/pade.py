r"""Square root of the covariance by a Padé approximant, without eigenvalues (Song, Sebe and Wang, ICLR 2022).

Scaled by its Frobenius norm, ``A = S + c I`` becomes ``X = A / |A|`` with eigenvalues in [0, 1]. The diagonal [m/m]
Padé approximant of the square root at 1 is

    sqrt(X) = N(X) D(X)^(-1),   N(x) = sum_j C(2m + 1, 2j) x^j,   D(x) = sum_j C(2m + 1, 2j + 1) x^j,   j = 0 ... m.

Written in powers of ``X`` rather than of ``I - X`` as in the paper, no term is negative, so nothing cancels. Both
polynomials share m - 1 matrix products, and ``D``, whose eigenvalues lie between 2m + 1 and 4^m, takes one Cholesky
solve, where partial fractions would take m. For an eigenvalue ``x = s^2`` the relative error is near
``2 ((1 - s) / (1 + s))^(2m + 1)``: small eigenvalues come out too large, a property of the method.

The gradient for ``A`` solves a Lyapunov equation (:mod:`mmgcp.ops.lyapunov`) by Newton-Schulz steps. First and second
derivatives are those of the exact root as far as the approximant and the steps have converged.
"""
import math
from functools import partial

import torch
from torch import Tensor

from .compat import without_autocast
from .lyapunov import lyapunov
from .newton_schulz import most_steps
from .numerics import identity_like, zero_as_one
from .product import product
from .solvers import decompose


def pade_pool(factor: Tensor, shift: float = 0., degree: int = 5, num_iters: int = 8) -> Tensor:
    """Square root of the shifted covariance, ``(F F^T + c I)^(1/2)``.

    Args:
        factor (Tensor): ``F`` (B, C, N), float32 or float64.
        shift (float): ``c``, at least 0.
        degree (int): ``m``, at least 1. The condition number of ``D`` is up to ``4^m / (2m + 1)``, which limits ``m``
            to 13 in float32 and 28 in float64.
        num_iters (int): Newton-Schulz steps of the backward pass, at least 1. No more than
            :func:`~mmgcp.ops.newton_schulz.most_steps` are taken.

    Returns:
        Tensor: (B, C, C), symmetric to rounding. Without a shift, zero with zero gradient for a zero factor.

    Raises:
        ValueError: If the degree is too high for the precision.
    """
    eps = torch.finfo(factor.dtype).eps
    if 4**degree * eps > 2 * degree + 1:
        raise ValueError(f'degree={degree} is too high for the rounding of {factor.dtype}: set a lower degree')
    num_iters = min(num_iters, most_steps(factor.dtype))
    matrix = product(factor, factor.mT)
    if shift:
        matrix = matrix + shift * identity_like(matrix)
    return _PadeSqrt.apply(matrix, degree, num_iters)


class _PadeSqrt(torch.autograd.Function):
    """Approximate root of symmetric positive semidefinite matrices (B, C, C)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor, degree: int, num_iters: int) -> Tensor:
        norm = torch.linalg.matrix_norm(matrix, keepdim=True)
        normed = (matrix / zero_as_one(norm)).masked_fill(~norm.isfinite(), 0)
        power = identity_like(matrix).expand_as(matrix)
        numerator, denominator = power, (2 * degree + 1) * power
        for j in range(1, degree + 1):
            power = power @ normed if j > 1 else normed
            numerator = numerator + math.comb(2 * degree + 1, 2 * j) * power
            denominator = denominator + math.comb(2 * degree + 1, 2 * j + 1) * power
        root = torch.cholesky_solve(numerator, decompose(torch.linalg.cholesky, denominator))
        return root * torch.where(norm.isfinite(), norm, torch.nan).sqrt()

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        _, _, ctx.num_iters = inputs
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        root, = ctx.saved_tensors
        with without_autocast(grad):
            return lyapunov(root, grad, partial(_corner_of_sign, num_iters=ctx.num_iters)), None, None


def _corner_of_sign(block: Tensor, corner: Tensor, num_iters: int) -> Tensor:
    """By the steps ``H <- H (3 I - H^2) / 2``."""
    for _ in range(num_iters):
        square, mixed = block @ block, block @ corner
        outer = block @ mixed
        corner = 1.5 * corner + 0.5 * (mixed @ block - outer - outer.mT)
        block = 1.5 * block - 0.5 * (square @ block)
    return corner
