"""Upper triangle of symmetric matrices as a vector, and back."""
import math

import torch
from torch import Tensor


def triu_size(dim: int) -> int:
    """Number of entries in the upper triangle of a ``dim`` x ``dim`` matrix, diagonal included: 32,896 for 256."""
    return dim * (dim + 1) // 2


def triu_vector(matrix: Tensor) -> Tensor:
    """Upper triangle, diagonal included, row by row: the covariance representation that feeds the classifier.

    Args:
        matrix (Tensor): (..., D, D).

    Returns:
        Tensor: (..., D (D + 1) / 2), same dtype.

    Raises:
        ValueError: If the last two dimensions differ.
    """
    if matrix.dim() < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(f'triu_vector takes square matrices (..., D, D), got the shape {tuple(matrix.shape)}')
    dim = matrix.shape[-1]
    rows, cols = torch.triu_indices(dim, dim, device=matrix.device)
    return matrix.flatten(-2).index_select(-1, rows * dim + cols)


def symmetric_from_triu(vector: Tensor) -> Tensor:
    """Symmetric matrix whose upper triangle, row by row, is ``vector``: the inverse of :func:`triu_vector`.

    Args:
        vector (Tensor): (..., D (D + 1) / 2).

    Returns:
        Tensor: (..., D, D), same dtype.

    Raises:
        ValueError: If the length of the last dimension is no triangular number.
    """
    size = vector.shape[-1] if vector.dim() else 0
    dim = (math.isqrt(8 * size + 1) - 1) // 2
    if size == 0 or triu_size(dim) != size:
        raise ValueError('symmetric_from_triu takes vectors of length D (D + 1) / 2, got the shape '
                         f'{tuple(vector.shape)}')
    rows, cols = torch.triu_indices(dim, dim, device=vector.device)
    position = torch.empty(dim, dim, dtype=torch.long, device=vector.device)
    position[rows, cols] = torch.arange(size, device=vector.device)
    position[cols, rows] = torch.arange(size, device=vector.device)
    return vector.index_select(-1, position.flatten()).unflatten(-1, (dim, dim))
