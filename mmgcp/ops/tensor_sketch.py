r"""Compact bilinear pooling by tensor sketch (Gao et al., CVPR 2016; Pham and Pagh, KDD 2013).

The tensor sketch of ``x x^T`` adds ``s1(i) s2(j) x_i x_j`` to the bin ``(h1(i) + h2(j)) mod d``. The paper computes it
per pixel with two FFTs of length d. As the sketch is linear in ``x x^T``, its mean over the pixels is the
sketch of the second moment: one C x C product and C^2 additions.
"""
import torch
from torch import Tensor


def draw_sketch(channels: int, out_channels: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Draw the random hashes and signs of a sketch.

    Args:
        channels (int): C.
        out_channels (int): Bins d.
        generator (torch.Generator, optional): Source of random numbers. Default: PyTorch's.

    Returns:
        tuple[Tensor, Tensor]: Hashes (2, C), int64 in [0, d), and signs (2, C), float32, 1 or -1.

    Examples:
        >>> from mmgcp.ops import covariance_pool
        >>> sketch = draw_sketch(16, 64)
        >>> covariance_pool(torch.rand(2, 16, 7, 7), 'compact_bilinear', sketch=sketch, out_channels=64).shape
        torch.Size([2, 64])
    """
    hashes = torch.randint(out_channels, (2, channels), generator=generator)
    signs = torch.randint(2, (2, channels), generator=generator) * 2. - 1
    return hashes, signs


def tensor_sketch(moment: Tensor, hashes: Tensor, signs: Tensor, out_channels: int) -> Tensor:
    """Tensor sketch (B, d) of the means of ``x x^T``, (B, C, C); hashes and signs as :func:`draw_sketch` gives them.

    On CUDA, results repeat only to rounding unless ``torch.use_deterministic_algorithms`` is on.
    """
    # The exported graph would give wrong values.
    if torch.jit.is_tracing() and torch.onnx.is_in_onnx_export():
        raise NotImplementedError("PyTorch's older ONNX exporter cannot sum over repeated indices, as "
                                  "method='compact_bilinear' does: export with torch.onnx.export(..., dynamo=True)")
    if hashes.shape != (2, moment.shape[-1]) or signs.shape != hashes.shape:
        raise ValueError(f'a sketch for {moment.shape[-1]} channels has hashes and signs (2, {moment.shape[-1]}), not '
                         f'{tuple(hashes.shape)} and {tuple(signs.shape)}: draw it by draw_sketch for as many channels')
    signs = signs.to(moment.dtype)
    bins = (hashes[0][:, None] + hashes[1]) % out_channels
    signed = moment * (signs[0][:, None] * signs[1])
    return moment.new_zeros(moment.shape[0], out_channels).index_add(1, bins.flatten(), signed.flatten(1))
