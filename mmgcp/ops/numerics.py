"""Small rules that several methods share."""
import torch
from torch import Tensor


def zero_as_one(values: Tensor) -> Tensor:
    """Values to divide by: zeros, as of the trace of features without variance, become 1."""
    return torch.where(values == 0, torch.ones_like(values), values)


def zero_below_rounding(eigenvalues: Tensor) -> Tensor:
    """Eigenvalues (..., M), ascending, of positive semidefinite M x M matrices.

    Those that rounding cannot tell from zero, up to ``eps M max l``, and negative ones become zero.
    """
    rounding = torch.finfo(eigenvalues.dtype).eps * eigenvalues.shape[-1] * eigenvalues[..., -1:]
    return torch.where(eigenvalues > rounding, eigenvalues, torch.zeros_like(eigenvalues))


def finite_images(matrix: Tensor) -> Tensor:
    """Whether all entries of a matrix (..., M, M) are finite, (..., 1, 1): else LAPACK refuses the whole batch."""
    return matrix.isfinite().all(-1, keepdim=True).all(-2, keepdim=True)


def identity_like(matrix: Tensor) -> Tensor:
    """Identity (M, M) of the size, dtype and device of matrices (..., M, M)."""
    return torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)


def symmetric_part(matrix: Tensor) -> Tensor:
    """``(M + M^T) / 2`` of matrices (..., M, M)."""
    return (matrix + matrix.mT) / 2
