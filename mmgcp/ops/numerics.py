"""Numerical helpers shared by several methods."""
import torch
from torch import Tensor


def zero_as_one(values: Tensor) -> Tensor:
    """Replace zeros in divisors, such as the trace of features without variance, by 1."""
    return torch.where(values == 0, torch.ones_like(values), values)


def zero_below_rounding(eigenvalues: Tensor) -> Tensor:
    """Set eigenvalues (..., M) that rounding cannot tell from zero, and negative ones, to zero.

    They are those of positive semidefinite M x M matrices, ascending; the threshold is ``eps M max l``.
    """
    rounding = torch.finfo(eigenvalues.dtype).eps * eigenvalues.shape[-1] * eigenvalues[..., -1:]
    return torch.where(eigenvalues > rounding, eigenvalues, torch.zeros_like(eigenvalues))


def finite_images(matrix: Tensor) -> Tensor:
    """Whether all entries of a matrix (..., M, M) are finite, (..., 1, 1): otherwise LAPACK rejects the whole batch."""
    return matrix.isfinite().all(-1, keepdim=True).all(-2, keepdim=True)


def identity_like(matrix: Tensor) -> Tensor:
    """Identity (M, M) of the size, dtype and device of matrices (..., M, M)."""
    return torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)


def trace_of(matrix: Tensor) -> Tensor:
    """Trace per image of matrices (B, M, M), (B, 1, 1)."""
    return matrix.diagonal(dim1=1, dim2=2).sum(-1)[..., None, None]  # the older ONNX exporter takes no negative dims


def symmetric_part(matrix: Tensor) -> Tensor:
    """``(M + M^T) / 2`` of matrices (..., M, M)."""
    return (matrix + matrix.mT) / 2


def signed_power(x: Tensor, alpha: float) -> Tensor:
    """``sign(x) |x|^alpha`` entry by entry (B-CNN, Lin et al., ICCV 2015); for zeros, the derivative is zero."""
    magnitude = zero_as_one(x.abs())
    return x.sign() * magnitude**alpha


def unit_norm(x: Tensor) -> Tensor:
    """Divide each item of the batch by its l2 norm; zeros stay zeros, with zero gradient."""
    squares = x.square().sum(tuple(range(1, x.dim())), keepdim=True)
    return x * zero_as_one(squares).rsqrt()
