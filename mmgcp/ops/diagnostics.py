"""Diagnostics of the estimation and the normalisation of a sample covariance."""
import torch
from torch import Tensor

from .compat import without_autocast
from .covariance import as_features, centre, unit_factor
from .numerics import zero_below_rounding
from .solvers import decompose


@torch.no_grad()
def covariance_diagnostics(x: Tensor, num_iters: int = 5, mask: Tensor | None = None) -> dict[str, Tensor]:
    r"""Spectrum of the sample covariance ``S`` (C x C) of each image, and the error of its Newton-Schulz root.

    With ``l_i`` the eigenvalues of ``S``, of which those within rounding, ``eps min(C, N) max l``, count as zero, and
    ``p_i = l_i / sum l``:

    - ``effective_rank``: ``exp(-sum p_i log p_i)`` (Roy & Vetterli, EUSIPCO 2007), the number of directions in use:
      between 1 and ``rank``; 0 without variance. If it is a few out of hundreds, or falls in training, the features
      collapse: covariance pooling then adds little to average pooling.
    - ``rank``: number of non-zero eigenvalues, at most ``pixels - 1``. Below the number of channels, ``S`` is singular.
    - ``condition_number``: largest over smallest non-zero eigenvalue, at most ``1 / (eps min(C, N))``; 1 without
      variance. A larger one needs more Newton-Schulz steps, and gives an exact square root larger gradients.
    - ``residual``: ``||Y^2 - S||_F / ||S||_F`` of the iSQRT-COV output ``Y`` after ``num_iters`` steps; 0 without
      variance. Near 0, ``Y`` is the root of ``S``; else small eigenvalues come out too small, as usual with 5 steps.
    - ``dead_channels``: share of channels that are constant over the valid pixels: rows of zeros in ``S``. If it is
      large, use fewer reduced channels; if it grows, a lower learning rate.
    - ``pixels``: number of valid pixels ``N``.
    - ``pixels_below_channels``: 1 if there are fewer pixels than channels, else 0. Then ``S`` is singular: larger
      images, a higher resolution of the last stage or fewer reduced channels help.

    The first four do not depend on the scale of the features, and are NaN for an image with non-finite features.

    Args:
        x (Tensor): Feature maps (B, C, H, W) or tokens (B, N, C), of a real floating dtype, in any memory format.
        num_iters (int): Newton-Schulz steps. Default: 5, the paper's.
        mask (Tensor, optional): Boolean, true where a pixel or token is valid: (B, H, W) or (B, N).

    Returns:
        dict[str, Tensor]: One value per image, (B, ), by the names above; float64 for float64 input, else float32.

    Raises:
        ValueError: If ``num_iters`` is not an integer of at least 1, or ``x`` or the mask have a wrong shape.
        TypeError: If ``x`` has no real floating dtype or the mask is not boolean.

    Examples:
        >>> x = torch.tensor([[[[1., -1.], [1., -1.]], [[2., -2.], [2., -2.]]]])  # the second is twice the first
        >>> numbers = covariance_diagnostics(x)
        >>> numbers['rank'], numbers['dead_channels'], numbers['pixels']
        (tensor([1.]), tensor([0.]), tensor([4.]))
    """
    if not isinstance(num_iters, int) or num_iters < 1:
        raise ValueError(f'num_iters={num_iters} must be an integer of at least 1')
    features, mask = as_features(x, mask)
    features = features.to(torch.float64 if x.dtype == torch.float64 else torch.float32)
    batch, channels, width = features.shape
    pixels = features.new_full((batch, ), width) if mask is None else mask.sum((1, 2)).to(features)
    dead = (centre(features, mask) == 0).all(-1)

    factor, scale = unit_factor(features, mask)
    finite = scale.isfinite()
    values = _eigenvalues(factor.masked_fill(~finite, 0))
    rank = (values > 0).sum(-1).to(features)
    share = values / values.sum(-1, keepdim=True).clamp(min=torch.finfo(values.dtype).tiny)
    spectral = dict(effective_rank=torch.special.entr(share).sum(-1).exp().where(rank > 0, rank), rank=rank,
                    condition_number=_condition_number(values), residual=_residual(share, num_iters))
    return dict({name: value.masked_fill(~finite.flatten(), torch.nan) for name, value in spectral.items()},
                dead_channels=dead.to(features).mean(-1), pixels=pixels,
                pixels_below_channels=(pixels < channels).to(features))


def _eigenvalues(factor: Tensor) -> Tensor:
    """Eigenvalues of ``F F^T`` that can be non-zero, ascending, (B, min(C, N)); zero where below rounding."""
    with without_autocast(factor):
        product = factor @ factor.mT if factor.shape[1] <= factor.shape[2] else factor.mT @ factor
    return zero_below_rounding(decompose(torch.linalg.eigvalsh, product))


def _condition_number(values: Tensor) -> Tensor:
    """Largest over smallest eigenvalue that is not zero; 1 if all are."""
    smallest = values.masked_fill(values == 0, torch.inf).amin(-1)
    return torch.where(smallest.isfinite(), values[:, -1] / smallest, torch.ones_like(smallest))


def _residual(share: Tensor, num_iters: int) -> Tensor:
    """``||Y^2 - S|| / ||S||`` from the eigenvalues of ``A = S / tr S``, on which the steps act one by one."""
    y, z = share, torch.ones_like(share)
    for _ in range(num_iters):
        t = (3 - z * y) / 2
        y, z = y * t, t * z
    return (y.square() - share).norm(dim=-1) / share.norm(dim=-1).clamp(min=torch.finfo(share.dtype).tiny)
