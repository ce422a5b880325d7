"""Base class of the necks that pool tokens."""
from mmengine.model import BaseModule
from torch import Tensor

from mmgcp.utils.errors import SetupError


class TokenPooling(BaseModule):
    """Neck that pools the tokens of one stage; a feature map has a token per pixel.

    Subclasses implement ``pool``, from tokens (B, N, C) to vectors (B, ``out_channels``).
    """

    def forward(self, inputs: Tensor | tuple[Tensor]) -> Tensor | tuple[Tensor]:
        """Pool a feature map (B, C, H, W) or tokens (B, N, C), alone or in a tuple, to (B, ``out_channels``).

        Raises:
            SetupError: If a tuple does not hold the features of exactly one stage.
        """
        if isinstance(inputs, tuple):
            if len(inputs) != 1:
                raise SetupError(f'{type(self).__name__} pools the features of one stage, the backbone gives '
                                 f'{len(inputs)}: set its out_indices to the last stage alone')
            return (self.forward(inputs[0]), )
        return self.pool(inputs.flatten(2).transpose(1, 2) if inputs.dim() == 4 else inputs)


def check_heads(channels: int, heads: int, least: int = 1) -> None:
    """Raise SetupError if there are too few heads, or they do not divide the channels."""
    if heads < least or channels < 1 or channels % heads:
        raise SetupError(f'heads={heads} must be at least {least} and divide channels={channels}')
