r"""Multi-head cross-covariance (So-ViT, Xie et al., 2021): ``h`` matrices of ``d x d`` in place of one of ``C x C``.

The ``C = 2 h d`` channels are ``h`` heads of two parts ``q`` and ``k`` of ``d`` channels each. With both centred over
the N pixels, each head has ``M = q^T k / N = U diag(s) V^T``, normalised to ``U diag(sqrt(s)) V^T``.

With ``P = U^T dM V``, ``P+`` its symmetric and ``P-`` its antisymmetric part, the derivative of the normalisation is

    U (A * P+ + B * P-) V^T,   A_ij = 1 / (sqrt(s_i) + sqrt(s_j)),   B_ij = (sqrt(s_i) + sqrt(s_j)) / (s_i + s_j),

the divided differences of the square root, continued as an odd function. ``A`` and ``B`` are symmetric, so the gradient
is the same map. Unlike the derivatives of U and V, they are finite where singular values coincide.
"""
from typing import Any

import torch
from torch import Tensor, nn

from .compat import autocast_type, is_autocast_enabled, without_autocast
from .covariance import as_features, unit_factor
from .numerics import finite_images, zero_as_one
from .product import product
from .solvers import decompose


def cross_covariance_pool(x: Tensor, heads: int, *, mask: Tensor | None = None, normalize: bool = True) -> Tensor:
    """Cross-covariance of two halves of each head's channels over the pixels, with the root of its singular values.

    Each channel is centred separately; So-ViT's released code subtracts a single mean per image.

    Args:
        x (Tensor): Feature maps (B, C, H, W) or tokens (B, N, C) of a floating dtype. The first C / heads channels are
            ``q`` and ``k`` of the first head, and so on.
        heads (int): Number of heads h; ``2 h`` divides C.
        mask (Tensor, optional): Boolean, true where a pixel or token is valid: (B, H, W) or (B, N).
        normalize (bool): Whether to take the square root of the singular values. ONNX has none. Default: True.

    Returns:
        Tensor: (B, h, d, d) with ``d = C / (2 h)``, in the dtype that :func:`mmgcp.ops.covariance_pool` returns. Scales
        linearly with the features with ``normalize``, else quadratically. Value and gradient are finite where singular
        values are zero or coincide; with ``normalize``, second derivatives raise a RuntimeError.

    Raises:
        ValueError: If the heads do not divide the channels, or the shape of ``x`` or the mask does not fit.
        TypeError: If ``x`` has no real floating dtype, or the mask is not boolean.

    Examples:
        >>> q, k = torch.tensor([1., -1.]), torch.tensor([3., 5.])  # of two tokens: M = -1
        >>> cross_covariance_pool(torch.stack([4 * q, k], 1)[None], heads=1).round(decimals=4)
        tensor([[[[-2.]]]])
        >>> cross_covariance_pool(torch.rand(2, 168, 14, 14), heads=6).shape
        torch.Size([2, 6, 14, 14])
    """
    features, mask = as_features(x, mask)
    batch, channels, pixels = features.shape
    dim = head_dim(channels, heads)
    dtype = x.dtype if x.dtype in (torch.float32, torch.float64) else torch.float32
    out_dtype = dtype if is_autocast_enabled(autocast_type(x.device)) else x.dtype
    with without_autocast(x):
        if mask is not None:
            mask = mask.repeat_interleave(heads, 0)
        factor, scale = unit_factor(features.to(dtype).reshape(batch * heads, 2 * dim, pixels), mask)
        q, k = factor.reshape(batch * heads, 2, dim, pixels).unbind(1)
        pooled = product(q, k.transpose(1, 2))
        pooled = _Root.apply(pooled)[0] * scale if normalize else pooled * scale * scale
        pooled = pooled.reshape(batch, heads, dim, dim)
        if out_dtype == torch.float16:
            largest = torch.finfo(out_dtype).max
            pooled = torch.where(pooled.isinf(), pooled, pooled.clamp(-largest, largest))
        return pooled.to(out_dtype)


def head_dim(channels: int, heads: int) -> int:
    """Channels of either part of a head."""
    if not isinstance(heads, int) or isinstance(heads, bool) or heads < 1:
        raise ValueError(f'heads={heads!r} must be an integer of at least 1')
    if channels % (2 * heads):
        raise ValueError(f'{channels} channels cannot be divided into heads={heads} of two parts each: take a multiple '
                         f'of {2 * heads} channels')
    return channels // (2 * heads)


class CrossCovariancePooling(nn.Module):
    """:func:`cross_covariance_pool` from features to the vector that feeds a classifier.

    Args:
        channels (int): Channels C of the features.
        heads (int): Number of heads.
        normalize (bool): See :func:`cross_covariance_pool`. Default: True.

    Attributes:
        out_channels (int): Length of the vector, ``C^2 / (4 heads)``.

    Raises:
        ValueError: If the heads do not divide the channels.

    Examples:
        >>> layer = CrossCovariancePooling(256, heads=8)
        >>> layer(torch.rand(2, 256, 7, 7)).shape, layer.out_channels
        (torch.Size([2, 2048]), 2048)
    """
    method = 'cross_covariance'

    def __init__(self, channels: int, heads: int, normalize: bool = True) -> None:
        super().__init__()
        self.out_channels = heads * head_dim(channels, heads)**2
        self.heads, self.normalize = heads, normalize

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool (B, C, H, W) or (B, N, C) to (B, :attr:`out_channels`)."""
        return cross_covariance_pool(x, self.heads, mask=mask, normalize=self.normalize).flatten(1)

    def extra_repr(self) -> str:
        """Name the settings."""
        return f'heads={self.heads}, normalize={self.normalize}'


class _Root(torch.autograd.Function):
    """``U diag(sqrt(s)) V^T`` of matrices (B, d, d); U, the roots and V^T, which are constants for the derivatives."""

    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        finite = finite_images(matrix)
        u, s, vt = decompose(torch.linalg.svd, torch.where(finite, matrix, torch.zeros_like(matrix)))
        rounding = torch.finfo(s.dtype).eps * s.shape[-1] * s[..., :1]
        root = torch.where(s > rounding, s, torch.zeros_like(s)).sqrt()
        pooled = torch.where(finite, (u * root[..., None, :]) @ vt, torch.full_like(matrix, torch.nan))
        return pooled, u, root, vt

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
        # Gradients of these are zeros, not None, which the vmap of torch 2.1 refuses.
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*inputs, *output[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_) -> Tensor:
        with without_autocast(grad):
            return _Derivative.apply(*ctx.saved_tensors, grad)


class _Derivative(torch.autograd.Function):
    """The derivative; beside other paths, ``once_differentiable`` would not raise but leave out part of the second."""

    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor, u: Tensor, root: Tensor, vt: Tensor, grad: Tensor) -> Tensor:
        inner = u.mT @ grad @ vt.mT
        sums = zero_as_one(root[..., :, None] + root[..., None, :])
        squares = zero_as_one(root[..., :, None]**2 + root[..., None, :]**2)
        even, odd = (inner + inner.mT) / 2, (inner - inner.mT) / 2
        scaled = even / sums + odd * sums / squares
        both_zero = (root[..., :, None] == 0) & (root[..., None, :] == 0)
        return u @ scaled.masked_fill(both_zero, 0) @ vt

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> None:
        raise RuntimeError('cross_covariance_pool has no second derivatives: set normalize=False for those')
