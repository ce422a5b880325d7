"""Element-wise normalisation of bilinear features (B-CNN, Lin et al., ICCV 2015)."""
from torch import Tensor

from .numerics import zero_as_one


def signed_power(x: Tensor, alpha: float) -> Tensor:
    """``sign(x) |x|^alpha`` entry by entry; where ``x`` is zero, so is the derivative."""
    magnitude = zero_as_one(x.abs())
    return x.sign() * magnitude**alpha


def unit_norm(x: Tensor) -> Tensor:
    """Divide each item of the batch by its l2 norm; zeros stay zeros, with zero gradient."""
    squares = x.square().sum(tuple(range(1, x.dim())), keepdim=True)
    return x * zero_as_one(squares).rsqrt()
