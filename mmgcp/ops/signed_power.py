"""Element-wise normalisation of bilinear features (B-CNN, Lin et al., ICCV 2015)."""
import torch
from torch import Tensor


def signed_power(x: Tensor, alpha: float) -> Tensor:
    """``sign(x) |x|^alpha`` entry by entry; where ``x`` is zero, so is the derivative."""
    magnitude = torch.where(x == 0, torch.ones_like(x), x.abs())
    return x.sign() * magnitude**alpha


def unit_norm(x: Tensor) -> Tensor:
    """Each entry of the batch over its l2 norm; zeros stay zeros, with zero gradient."""
    squares = x.square().sum(tuple(range(1, x.dim())), keepdim=True)
    return x * torch.where(squares == 0, torch.ones_like(squares), squares).rsqrt()
