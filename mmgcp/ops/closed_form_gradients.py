r"""Gradients of the pooled features: Table 1 and Eqs. 5 to 7 of Wang et al., CVPR 2020, in closed form.

``X`` (N x D) holds the features of an image, one row per pixel; ``J X`` is ``X`` minus its mean over the pixels,
divided by N; ``Sigma = X^T J X = U diag(l) U^T`` is the sample covariance (Eq. 1) and ``Z`` its square root (Eq. 2).
``G_sym`` is the symmetric part of ``G``, the gradient of the loss with respect to ``Z``, and ``H = U^T G_sym U`` is
``G_sym`` in the eigenbasis. With ``s = sqrt(l)``, Eq. 6 reads

    dL/dX = 2 J X U [H_ij / (s_i + s_j)] U^T,

because the symmetrisation cancels the poles of its mask, ``K_ij = 1 / (l_i - l_j)``, where eigenvalues are equal:
``(s_j - s_i) / (l_j - l_i) = 1 / (s_i + s_j)``.

Eqs. 6 and 7 differ in one factor. As ``sqrt(N) J X U = Q diag(s)``, where ``Q`` has orthonormal columns, and columns of
zeros where ``s_i = 0``,

    no root    dL/dX = Q [2 s_i H_ij] U^T / sqrt(N)                 = 2 J X G_sym
    Eq. 6      dL/dX = Q [2 s_i / (s_i + s_j) H_ij] U^T / sqrt(N)
    Eq. 7      dL/dX = Q [H_ij] U^T / sqrt(N)                       = J X Sigma^(-1/2) G_sym.

The root has factors between 0 and 2 where the plain covariance has ``2 s_i``. The trimmed gradient has 1, the root's
factor for ``s_i = s_j``.

With N <= D pixels ``Sigma`` is singular: inverses are Moore-Penrose inverses, and quotients of two zero eigenvalues are
set to zero, which changes nothing, because ``J X`` vanishes there. Eigenvalues that are zero up to rounding are treated
as zero. Eq. 6 is then exact for changes of ``X`` that preserve the rank, and otherwise the subgradient of least norm
(:mod:`mmgcp.ops.spectral`).

``X`` is (B, N, D), float32 or float64; ``G`` (B, D, D); the results are (B, N, D).
"""
import torch
from torch import Tensor

from .covariance import centre, covariance_factor
from .numerics import symmetric_part, zero_below_rounding
from .solvers import decompose
from .triu import symmetric_from_triu


def symmetric_gradient(grad: Tensor) -> Tensor:
    """Gradient (..., D, D) for a symmetric matrix, from that for its upper triangle, (..., D (D + 1) / 2).

    Off-diagonal entries appear twice in the matrix and once in the vector: each of the two gets half the gradient.
    """
    matrix = symmetric_from_triu(grad)
    return (matrix + torch.diag_embed(matrix.diagonal(dim1=-2, dim2=-1))) / 2


def average_gradient(grad: Tensor, pixels: int) -> Tensor:
    """``C^T g`` of Eq. 5, the gradient of GAP, (B, N, D), equal at every pixel, from ``g`` (B, D).

    The paper writes GAP as the sum over the pixels; here it is the mean, as in networks: ``C^T`` is ``1 / N``.
    """
    return (grad / pixels)[:, None].expand(-1, pixels, -1)


def covariance_gradient(x: Tensor, grad: Tensor) -> Tensor:
    """``2 J X G_sym``, the gradient of covariance pooling without the root; ``grad`` is that of the covariance."""
    return 2 * _centred(x) @ symmetric_part(grad)


def root_gradient(x: Tensor, grad: Tensor) -> Tensor:
    """Eq. 6 without poles: the gradient of the exact square root."""
    eigenvalues, vectors = _spectrum(x)
    roots = eigenvalues.sqrt()
    weights = _inverse(roots[:, :, None] + roots[:, None, :])
    inner = vectors.mT @ symmetric_part(grad) @ vectors * weights
    return 2 * _centred(x) @ vectors @ inner @ vectors.mT


def trimmed_root_gradient(x: Tensor, grad: Tensor) -> Tensor:
    """Eq. 7 read literally, in the eigenbasis: ``J X Sigma^(-1/2) G``.

    In Eq. 7, ``K^T o Lambda^(1/2)`` vanishes: it is the elementwise product of a matrix with zero diagonal and a
    diagonal matrix. The result is Eq. 6 exactly where ``G`` and ``Sigma`` commute.
    """
    eigenvalues, vectors = _spectrum(x)
    inverse_root = vectors * _inverse(eigenvalues.sqrt())[:, None] @ vectors.mT
    return _centred(x) @ inverse_root @ symmetric_part(grad)


def _centred(x: Tensor) -> Tensor:
    """``J X`` (B, N, D)."""
    return centre(x.mT).mT / x.shape[1]


def _spectrum(x: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (B, D), ascending, zero where below rounding, and eigenvectors (B, D, D)."""
    factor = covariance_factor(x.mT)
    eigenvalues, vectors = decompose(torch.linalg.eigh, factor @ factor.mT)
    return zero_below_rounding(eigenvalues), vectors


def _inverse(values: Tensor) -> Tensor:
    """Reciprocals; 0 for 0."""
    return torch.where(values == 0, torch.zeros_like(values), 1 / values)
