"""Decompositions by LAPACK and cuSOLVER, which may fail or be slow."""
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from .compat import VERSION, is_compiling


def decompose(function: Callable, matrices: Tensor) -> Tensor | tuple[Tensor, ...]:
    """Call ``function(matrices)``; if the solver fails, retry in float64 on the CPU, with a warning.

    Args:
        function (Callable): ``torch.linalg.eigh``, ``eigvalsh``, ``svd`` or ``cholesky``.
        matrices (Tensor): (B, M, M), float32 or float64.

    Returns:
        Tensor or tuple[Tensor, ...]: What the function returns, in the dtype and on the device of the matrices.

    Raises:
        torch.linalg.LinAlgError: If the solver also fails in float64. The message names the matrices.
    """
    if is_compiling():
        return function(matrices)
    if function is torch.linalg.eigh:
        warn_of_a_loop(matrices)
    try:
        return function(matrices)
    except torch.linalg.LinAlgError as error:
        cause = str(error).strip().splitlines()[0]
    wide = matrices.double().cpu()
    try:
        out = function(wide)
    except torch.linalg.LinAlgError:
        failed = [i for i, matrix in enumerate(wide) if _fails(function, matrix)]
        raise torch.linalg.LinAlgError(
            f'{function.__name__} fails for {len(failed)} of {len(wide)} matrices, one or more per image, in float64, '
            f"too: {', '.join(map(str, failed))}, counted from 0 ({cause}). Look at the features of these images, or "
            "take a method that does not decompose, such as 'polar_express' or 'newton_schulz'") from None
    warnings.warn(f'{function.__name__} failed ({cause}): the batch was decomposed in float64 on the CPU', stacklevel=2)
    return out.to(matrices) if isinstance(out, Tensor) else tuple(part.to(matrices) for part in out)


def warn_of_a_loop(matrices: Tensor) -> None:
    """Warn, once, where ``eigh`` processes the matrices of a batch one by one."""
    if matrices.is_cuda and matrices.shape[-1] > 32 and VERSION < (2, 12):
        warnings.warn("torch.linalg.eigh goes through the images one by one on CUDA before torch 2.12: for the square "
                      "root, method='polar_express' takes them at once", stacklevel=2)


def _fails(function: Callable, matrix: Tensor) -> bool:
    try:
        function(matrix)
    except torch.linalg.LinAlgError:
        return True
    return False
