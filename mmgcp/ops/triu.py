"""Upper triangle of symmetric matrices as a vector, and back."""
import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from .compat import is_compiling


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
    return matrix.flatten(-2).index_select(-1, upper_positions(int(matrix.shape[-1]), matrix.device))


def upper_positions(dim: int, device: torch.device) -> Tensor:
    """Positions of the upper triangle, row by row, in a flattened ``dim`` x ``dim`` matrix."""
    if torch.jit.is_tracing():  # a constant: ONNX has no triu_indices
        return torch.tensor([row * dim + col for row in range(dim) for col in range(row, dim)], device=device)
    return _upper_positions(dim, device) if is_compiling() else _cached_upper_positions(dim, device)


def _upper_positions(dim: int, device: torch.device) -> Tensor:
    rows, cols = torch.triu_indices(dim, dim, device=device)
    return rows * dim + cols


def _symmetric_positions(dim: int, device: torch.device) -> Tensor:
    """Where in the upper triangle each entry of a flattened symmetric matrix is found."""
    index = torch.arange(dim, device=device)
    row, col = torch.minimum(index[:, None], index), torch.maximum(index[:, None], index)
    return (row * (2 * dim - row - 1) // 2 + col).flatten()


def _cached(function: Callable) -> Callable:
    """The few sizes of a model, made once each; outside of inference mode, whose tensors autograd refuses."""

    @functools.lru_cache(maxsize=16)
    def cached(dim: int, device: torch.device) -> Tensor:
        with torch.inference_mode(False):
            return function(dim, device)

    return cached


_cached_upper_positions = _cached(_upper_positions)
_cached_symmetric_positions = _cached(_symmetric_positions)


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
    positions = _symmetric_positions if is_compiling() else _cached_symmetric_positions
    return vector.index_select(-1, positions(dim, vector.device)).unflatten(-1, (dim, dim))
