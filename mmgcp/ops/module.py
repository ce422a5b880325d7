"""Covariance pooling as a module."""
import torch
import torch.nn as nn
from torch import Tensor

from .methods import METHODS, State, check_settings
from .pooling import covariance_pool


class CovariancePooling(nn.Module):
    """Covariance pooling from features to the vector that feeds a classifier.

    A method's state, such as the gate of ``'dropcov'``, is drawn when the module is built; checkpoints save it.

    Args:
        channels (int): Channels C of the features.
        method (str): A name in :data:`mmgcp.ops.METHODS`. Default: ``'newton_schulz'``, the paper's.
        scale_off_diagonal (bool): See :func:`mmgcp.ops.covariance_pool`.
        check_finite (bool): See :func:`mmgcp.ops.covariance_pool`.
        **options: Options of the method, see :func:`mmgcp.ops.covariance_pool`.

    Attributes:
        out_channels (int): Length of the vector: 32,896 for the upper triangle of 256 channels.

    Raises:
        ValueError: If a setting is unknown or out of range.

    Examples:
        >>> layer = CovariancePooling(16, num_iters=3)
        >>> layer
        CovariancePooling('newton_schulz', num_iters=3)
        >>> classifier = nn.Linear(layer.out_channels, 10)
        >>> classifier(layer(torch.rand(2, 16, 7, 7))).shape
        torch.Size([2, 10])
        >>> list(CovariancePooling(16, 'compact_bilinear', out_channels=64).state_dict())
        ['sketch_hashes', 'sketch_signs']
    """

    def __init__(self, channels: int, method: str = 'newton_schulz', scale_off_diagonal: bool = False,
                 check_finite: bool = False, **options) -> None:
        super().__init__()
        if not isinstance(channels, int) or channels < 1:
            raise ValueError(f'channels={channels} must be an integer of at least 1')
        check_settings(method, **options)
        declared = METHODS[method]
        unknown = options.keys() - declared.options.keys()
        if unknown:
            raise ValueError(f"method='{method}' has no option {', '.join(sorted(unknown))}: "
                             f"it has {', '.join(declared.options)}")
        self.method = method
        self.scale_off_diagonal = scale_off_diagonal
        self.check_finite = check_finite
        self.options = options
        if declared.state:
            self._draw(declared.state, channels, declared.options)
        self.eval()
        self.out_channels = self(torch.zeros(1, channels, 1, 1)).shape[1]  # checks the settings before data arrive
        self.train()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool (B, C, H, W) or (B, N, C), with a mask as in :func:`covariance_pool`, to (B, :attr:`out_channels`)."""
        options, declared = dict(self.options), METHODS[self.method]
        if declared.state:
            options[declared.state.option] = tuple(getattr(self, name) for name in declared.state.names)
        if declared.random:
            options['training'] = self.training
        return covariance_pool(x, self.method, mask=mask, vector=True, scale_off_diagonal=self.scale_off_diagonal,
                               check_finite=self.check_finite, **options)

    def _draw(self, state: State, channels: int, defaults: dict) -> None:
        """Draw the method's state, and record the options that it depends on, including defaults."""
        for name in state.settings:
            self.options.setdefault(name, defaults[name])
        drawn = state.draw(channels, *(self.options[name] for name in state.settings))
        for name, tensor in zip(state.names, drawn, strict=True):
            if state.learned:
                self.register_parameter(name, nn.Parameter(tensor))
            else:
                self.register_buffer(name, tensor)

    def extra_repr(self) -> str:
        """Name the method and its options."""
        return ', '.join([repr(self.method), *(f'{name}={value!r}' for name, value in self.options.items())])
