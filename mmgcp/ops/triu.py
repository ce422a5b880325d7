"""Upper triangle of symmetric matrices as a vector, and back."""
import math

import torch
from torch import Tensor


def triu_size(dim: int) -> int:
    """Number of entries in the upper triangle of a ``dim`` x ``dim`` matrix, diagonal included.

    Examples:
        >>> triu_size(256)
        32896
    """
    return dim * (dim + 1) // 2


def triu_vector(matrix: Tensor) -> Tensor:
    """Upper triangle of matrices (..., D, D), diagonal included, row by row: (..., D (D + 1) / 2).

    Raises:
        ValueError: If the last two dimensions differ.

    Examples:
        >>> triu_vector(torch.tensor([[1., 2.], [2., 4.]]))
        tensor([1., 2., 4.])
    """
    if matrix.dim() < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(f'triu_vector takes square matrices (..., D, D), got the shape {tuple(matrix.shape)}')
    return matrix.flatten(-2).index_select(-1, upper_positions(int(matrix.shape[-1]), matrix.device))


def upper_positions(dim: int, device: torch.device) -> Tensor:
    """Positions of the upper triangle, row by row, in a flattened ``dim`` x ``dim`` matrix."""
    if torch.jit.is_tracing():  # a constant: ONNX has no triu_indices
        return torch.tensor([row * dim + col for row in range(dim) for col in range(row, dim)], device=device)
    rows, cols = torch.triu_indices(dim, dim, device=device)
    return rows * dim + cols


def triu_dim(size: int) -> int | None:
    """The ``dim`` whose :func:`triu_size` is ``size``, if there is one."""
    dim = (math.isqrt(8 * size + 1) - 1) // 2
    return dim if dim and triu_size(dim) == size else None


def symmetric_from_triu(vector: Tensor) -> Tensor:
    """Symmetric matrix (..., D, D) whose upper triangle, row by row, is ``vector`` (..., D (D + 1) / 2).

    Raises:
        ValueError: If the length of the last dimension is no triangular number.

    Examples:
        >>> symmetric_from_triu(torch.tensor([1., 2., 4.]))
        tensor([[1., 2.],
                [2., 4.]])
    """
    dim = triu_dim(vector.shape[-1]) if vector.dim() else None
    if dim is None:
        raise ValueError('symmetric_from_triu takes vectors of length D (D + 1) / 2, got the shape '
                         f'{tuple(vector.shape)}')
    index = torch.arange(dim, device=vector.device)
    offset = index * (2 * dim - index - 1) // 2  # of a row's entries; grows with the row
    positions = torch.minimum(offset[:, None], offset) + torch.maximum(index[:, None], index)
    return vector.index_select(-1, positions.flatten()).reshape(*vector.shape[:-1], dim, dim)
