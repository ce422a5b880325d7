r"""Matrix functions of the covariance, by eigendecomposition on the cheaper side, with exact stable derivatives.

For ``M = U diag(l) U^T`` and a scalar function ``f``, ``f(M) = U diag(f(l)) U^T``, and with the divided differences

    f[a] = f(a),   f[a, ..., y, z] = (f[a, ..., y] - f[b, ..., z]) / (a - z)

the derivatives along symmetric ``H`` and ``J``, written in the eigenbasis, are (Daleckii and Krein)

    Df[H]_ij = f[l_i, l_j] H_ij,   D^2f[H, J]_ij = sum_k f[l_i, l_k, l_j] (H_ik J_kj + J_ik H_kj).

The first is Eq. 6 of Wang et al., CVPR 2020, without its quotient of differences: where nodes coincide a divided
difference is a derivative of ``f`` over a factorial, and here it is computed as such.

Let ``S = F F^T`` and ``K = F^T F`` (:mod:`mmgcp.ops.covariance`). On the Gram side, for a shift ``c >= 0``,

    f(S + c I) = f(c) I + F g(K) F^T,   g(k) = f[k + c, c],

so the divided differences of ``g`` are those of ``f`` with the node ``c`` in addition. For powers without a shift
``g(k) = k^(alpha - 1)``.

Without a shift, powers have no derivative at zero: ``f[0, 0]`` is infinite and counts as zero, in the recursion too. On
the Gram side this makes ``g(K)`` a power of the Moore-Penrose inverse. The derivatives are then exact for changes of
``F`` that keep the rank, as all do in general while the rank is as large as the shape of ``F`` allows; for others the
first is the subgradient of least norm.
"""
import math

import torch
from torch import Tensor

from .compat import VMAP_NEEDS_ZEROS, forward_mode, without_autocast
from .numerics import finite_images, identity_like, symmetric_part, zero_below_rounding
from .product import product
from .solvers import decompose


class _ScalarFunction:
    """Scalar function with divided differences of any order, see :meth:`difference`.

    A subclass gives the value, the first divided difference, and the derivatives by ``alpha`` and :meth:`coefficient`:
    the one of order n over n! is ``coefficient(n) x^(alpha - n)``.
    """

    alpha: float

    def __call__(self, x: Tensor | float) -> Tensor | float:
        """f(x), of a tensor or a number."""
        raise NotImplementedError

    def coefficient(self, order: int) -> float:
        """Derivative of order 1 or more at 1, over its factorial."""
        raise NotImplementedError

    def slope(self, log_ratio: Tensor) -> Tensor:
        """f[r, 1] for r < 1, given log r."""
        raise NotImplementedError

    def difference(self, *nodes: Tensor) -> Tensor:
        """f[nodes], where values that are not finite count as zero.

        Args:
            *nodes (Tensor): One or more tensors that broadcast, not negative, in any order.

        Returns:
            Tensor: Of the broadcast shape.
        """
        nodes = list(nodes)
        for end in range(len(nodes) - 1, 0, -1):
            for i in range(end):
                nodes[i:i + 2] = torch.minimum(nodes[i], nodes[i + 1]), torch.maximum(nodes[i], nodes[i + 1])
        return self._difference(nodes)

    def _difference(self, nodes: list[Tensor]) -> Tensor:
        """f[nodes] for ascending nodes."""
        order = len(nodes) - 1
        if order == 0:
            difference = self(nodes[0])
        elif order == 1:
            difference = self._first(*nodes)
        else:
            # The quotient loses eps / width per order, the series about width^7.
            gap = nodes[-1] - nodes[0]
            width = torch.finfo(gap.dtype).eps**(1 / 9)
            quotient = (self._difference(nodes[1:]) - self._difference(nodes[:-1])) / gap
            difference = torch.where(gap <= width * nodes[-1], self._series(nodes), quotient)
        return torch.where(difference.isfinite(), difference, torch.zeros_like(difference))

    def _first(self, low: Tensor, high: Tensor) -> Tensor:
        """f[low, high], without a difference of nearly equal numbers."""
        ones = torch.ones_like(low / high)
        log_ratio = torch.where(low == high, ones, low / high).log()
        slope = torch.where(log_ratio == 0, self.coefficient(1) * ones, self.slope(log_ratio))
        return high**(self.alpha - 1) * slope

    def _series(self, nodes: list[Tensor], degree: int = 6) -> Tensor:
        """f[nodes] by the Taylor series around their mean, with complete homogeneous polynomials of the deviations."""
        mean = sum(nodes) / len(nodes)
        homogeneous = [1.] + [0.] * degree
        for node in nodes:
            deviation = node / mean - 1
            for m in range(1, degree + 1):
                homogeneous[m] = homogeneous[m] + deviation * homogeneous[m - 1]
        order = len(nodes) - 1
        return mean**(self.alpha - order) * sum(self.coefficient(order + m) * homogeneous[m] for m in range(degree + 1))


class Power(_ScalarFunction):
    """``x^alpha``, 0 < alpha <= 1: the square root at 1/2 (MPN-COV, Li et al., ICCV 2017), the identity at 1."""

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def __call__(self, x: Tensor | float) -> Tensor | float:
        """``x^alpha``."""
        return x**self.alpha

    def coefficient(self, order: int) -> float:
        """``alpha (alpha - 1) ... (alpha - n + 1) / n!``."""
        return math.prod([(self.alpha - i) / (i + 1) for i in range(order)])

    def slope(self, log_ratio: Tensor) -> Tensor:
        """``(r^alpha - 1) / (r - 1)``."""
        return torch.expm1(self.alpha * log_ratio) / torch.expm1(log_ratio)


class Log(_ScalarFunction):
    """``log x`` (DeepO2P, Ionescu et al., ICCV 2015). Needs a positive shift."""

    alpha = 0.

    def __call__(self, x: Tensor | float) -> Tensor | float:
        """``log x``."""
        return x.log() if isinstance(x, Tensor) else math.log(x)

    def coefficient(self, order: int) -> float:
        """``(-1)^(n - 1) / n``."""
        return (-1)**(order - 1) / order

    def slope(self, log_ratio: Tensor) -> Tensor:
        """``log r / (r - 1)``."""
        return log_ratio / torch.expm1(log_ratio)


class _Quotient:
    """``g(k) = f[k, c]``, the function of the Gram side."""

    def __init__(self, function: _ScalarFunction, shift: float) -> None:
        self.function = function
        self.shift = shift

    def difference(self, *nodes: Tensor) -> Tensor:
        return self.function.difference(torch.full_like(nodes[0], self.shift), *nodes)


def spectral_pool(factor: Tensor, function: _ScalarFunction, side: str, shift: float = 0.) -> Tensor:
    """Function of the shifted covariance, ``f(F F^T + c I)``.

    Args:
        factor (Tensor): ``F`` (B, C, N), float32 or float64.
        function (Power or Log): ``f``.
        side (str): ``'covariance'`` decomposes the C x C covariance, ``'gram'`` the N x N Gram matrix.
        shift (float): ``c``, at least 0.

    Returns:
        Tensor: (B, C, C), symmetric to rounding. Twice differentiable. Without a shift, zero with zero gradient for a
        zero factor.

    Raises:
        ValueError: If ``function`` is the logarithm and ``shift`` is zero.
    """
    if isinstance(function, Log) and shift == 0:
        raise ValueError('the matrix logarithm of a covariance, which may be singular, needs a positive shift')
    if side == 'covariance':
        return _matrix_function(product(factor, factor.mT), function, shift)
    inner = _matrix_function(product(factor.mT, factor), _Quotient(function, shift), shift)
    pooled = product(product(factor, inner), factor.mT)
    if shift == 0:
        return pooled
    return pooled + function(shift) * identity_like(pooled)


def _matrix_function(matrix: Tensor, function, shift: float) -> Tensor:
    """Function of ``matrix + shift I``, for symmetric positive semidefinite matrices (B, M, M)."""
    return forward_mode(_MatrixFunction).apply(matrix, function, shift)[0]


class _MatrixFunction(torch.autograd.Function):
    """Value, eigenvectors and shifted eigenvalues, of which the last two are constants for the derivatives."""

    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor, function, shift: float) -> tuple[Tensor, Tensor, Tensor]:
        finite = finite_images(matrix)
        eigenvalues, vectors = decompose(torch.linalg.eigh, matrix.masked_fill(~finite, 0))
        vectors = vectors.masked_fill(~finite, torch.nan)  # and so value and derivatives
        nodes = zero_below_rounding(eigenvalues) + shift
        return (vectors * function.difference(nodes)[..., None, :]) @ vectors.mT, vectors, nodes

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        matrix, ctx.function, _ = inputs
        _, vectors, nodes = output
        ctx.mark_non_differentiable(vectors, nodes)
        ctx.set_materialize_grads(VMAP_NEEDS_ZEROS)  # none for outputs that are not differentiable
        ctx.save_for_backward(matrix, vectors, nodes)
        ctx.save_for_forward(matrix, vectors, nodes)

    @staticmethod
    def backward(ctx, grad: Tensor | None, *_) -> tuple[Tensor | None, None, None]:
        if grad is None:
            return None, None, None
        with without_autocast(grad):
            return forward_mode(_Derivative).apply(*ctx.saved_tensors, grad, ctx.function), None, None


class _Derivative(torch.autograd.Function):
    """Df[H] for the symmetric part of ``H``; ``matrix`` is an argument so that autograd can differentiate by it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor, vectors: Tensor, nodes: Tensor, direction: Tensor, function) -> Tensor:
        differences = function.difference(nodes[..., :, None], nodes[..., None, :])
        return vectors @ (_in_eigenbasis(vectors, direction) * differences) @ vectors.mT

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        *tensors, ctx.function = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None, Tensor, None]:
        # Both derivatives are symmetric multilinear forms, hence their own adjoints.
        matrix, vectors, nodes, direction = ctx.saved_tensors
        with without_autocast(grad):
            grad_matrix = _SecondDerivative.apply(matrix, vectors, nodes, direction, grad, ctx.function)
            grad_direction = forward_mode(_Derivative).apply(matrix, vectors, nodes, grad, ctx.function)
        return grad_matrix, None, None, grad_direction, None


class _SecondDerivative(torch.autograd.Function):
    """D^2f[H, J] for the symmetric parts of ``H`` and ``J``. Not differentiable: a third derivative raises an error."""

    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor, vectors: Tensor, nodes: Tensor, first: Tensor, second: Tensor, function) -> Tensor:
        first, second = _in_eigenbasis(vectors, first), _in_eigenbasis(vectors, second)
        half = torch.zeros_like(first)
        for k in range(nodes.shape[-1]):
            differences = function.difference(nodes[..., :, None], nodes[..., k, None, None], nodes[..., None, :])
            half = half + differences * first[..., :, k, None] * second[..., k, None, :]
        return vectors @ (half + half.mT) @ vectors.mT

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        pass


class _ForwardMatrixFunction(_MatrixFunction):

    generate_vmap_rule = True

    @staticmethod
    def jvp(ctx, tangent: Tensor, *_) -> tuple[Tensor, None, None]:
        return _ForwardDerivative.apply(*ctx.saved_tensors, tangent, ctx.function), None, None


class _ForwardDerivative(_Derivative):

    generate_vmap_rule = True

    @staticmethod
    def jvp(ctx, tangent_matrix: Tensor, _vectors, _nodes, tangent_direction: Tensor, _function) -> Tensor:
        matrix, vectors, nodes, direction = ctx.saved_tensors
        out = torch.zeros_like(direction)
        if tangent_matrix is not None:
            out = out + _SecondDerivative.apply(matrix, vectors, nodes, direction, tangent_matrix, ctx.function)
        if tangent_direction is not None:
            out = out + _ForwardDerivative.apply(matrix, vectors, nodes, tangent_direction, ctx.function)
        return out


_MatrixFunction.ForwardMode = _ForwardMatrixFunction
_Derivative.ForwardMode = _ForwardDerivative


def _in_eigenbasis(vectors: Tensor, direction: Tensor) -> Tensor:
    """Symmetric part of ``direction``, U^T H U, (B, M, M)."""
    return vectors.mT @ symmetric_part(direction) @ vectors
