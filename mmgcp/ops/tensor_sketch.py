r"""Compact bilinear pooling by tensor sketch (Gao et al., CVPR 2016; Pham and Pagh, KDD 2013).

The tensor sketch of ``x x^T`` adds ``s1(i) s2(j) x_i x_j`` to the bin ``(h1(i) + h2(j)) mod d``. The paper computes it
per pixel with two FFTs of length d. As it is linear in ``x x^T``, the sketch of their mean over the pixels is that of
the second moment: one C x C product and C^2 additions.
"""
import torch
from torch import Tensor


def draw_sketch(channels: int, out_channels: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Random hashes and signs.

    Args:
        channels (int): C.
        out_channels (int): Bins d.
        generator (torch.Generator, optional): Source of random numbers. Default: PyTorch's.

    Returns:
        tuple[Tensor, Tensor]: Hashes (2, C), int64 in [0, d), and signs (2, C), float32, 1 or -1.
    """
    hashes = torch.randint(out_channels, (2, channels), generator=generator)
    signs = torch.randint(2, (2, channels), generator=generator) * 2. - 1
    return hashes, signs


def tensor_sketch(moment: Tensor, hashes: Tensor, signs: Tensor, out_channels: int) -> Tensor:
    """Tensor sketch of matrices.

    On CUDA the additions come in any order, unless ``torch.use_deterministic_algorithms`` says otherwise: results then
    repeat to rounding alone.

    Args:
        moment (Tensor): (B, C, C), mean of ``x x^T``.
        hashes (Tensor): (2, C), int64.
        signs (Tensor): (2, C), 1 or -1.
        out_channels (int): Bins d.

    Returns:
        Tensor: (B, d).
    """
    signs = signs.to(moment.dtype)
    bins = (hashes[0][:, None] + hashes[1]) % out_channels
    signed = moment * (signs[0][:, None] * signs[1])
    return moment.new_zeros(moment.shape[0], out_channels).index_add(1, bins.flatten(), signed.flatten(1))
