"""Covariance pooling as a module."""
import inspect

import torch
import torch.nn as nn
from torch import Tensor

from .pooling import METHODS, check_settings, covariance_pool
from .tensor_sketch import draw_sketch


def method_options(method: str) -> list[str]:
    """Names of the settings of a method, without those that :class:`CovariancePooling` supplies."""
    parameters = inspect.signature(METHODS[method]).parameters.values()
    return [p.name for p in parameters if p.default is not p.empty and p.name not in ('sketch', 'training')]


class CovariancePooling(nn.Module):
    """Covariance pooling from features to the vector that feeds a classifier.

    For ``'compact_bilinear'`` the random sketch is drawn when the module is made and kept in two buffers, which go into
    checkpoints; no other method has a state.

    Args:
        channels (int): Channels C of the features.
        method (str): Normalisation, a name in :data:`mmgcp.ops.METHODS`. Default: ``'newton_schulz'``, the paper's.
        scale_off_diagonal (bool): See :func:`mmgcp.ops.covariance_pool`.
        check_finite (bool): See :func:`mmgcp.ops.covariance_pool`.
        **options: Of the method, see :func:`mmgcp.ops.covariance_pool`.

    Attributes:
        out_channels (int): Length of the vector: 32,896 for the upper triangle of 256 channels.

    Raises:
        ValueError: If a setting is unknown or out of range.
    """

    def __init__(self, channels: int, method: str = 'newton_schulz', scale_off_diagonal: bool = False,
                 check_finite: bool = False, **options) -> None:
        super().__init__()
        if not isinstance(channels, int) or channels < 1:
            raise ValueError(f'channels={channels} must be an integer of at least 1')
        check_settings(method, **options)
        unknown, known = options.keys() - method_options(method), ', '.join(method_options(method))
        if unknown:
            raise ValueError(f"method='{method}' has no option {', '.join(sorted(unknown))}: it has {known}")
        self.method = method
        self.scale_off_diagonal = scale_off_diagonal
        self.check_finite = check_finite
        self.options = options
        if method == 'compact_bilinear':
            options.setdefault('out_channels', 8192)
            hashes, signs = draw_sketch(channels, options['out_channels'])
            self.register_buffer('sketch_hashes', hashes)
            self.register_buffer('sketch_signs', signs)
        # A dry run meets every check of the settings before any data arrive.
        self.eval()
        self.out_channels = self(torch.zeros(1, channels, 1, 1)).shape[1]
        self.train()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool a batch.

        Args:
            x (Tensor): Feature maps (B, C, H, W) or tokens (B, N, C).
            mask (Tensor, optional): Boolean, true where a pixel (B, H, W) or token (B, N) is valid.

        Returns:
            Tensor: (B, :attr:`out_channels`).
        """
        options = dict(self.options)
        if self.method == 'compact_bilinear':
            options['sketch'] = (self.sketch_hashes, self.sketch_signs)
        elif self.method == 'dropcov':
            options['training'] = self.training
        return covariance_pool(x, self.method, mask=mask, vector=True, scale_off_diagonal=self.scale_off_diagonal,
                               check_finite=self.check_finite, **options)

    def extra_repr(self) -> str:
        """Method and options, for ``print(model)``."""
        return ', '.join([repr(self.method), *(f'{name}={value!r}' for name, value in self.options.items())])
