"""Neck of Moment Probing: the first moment of tokens, and a small representation of the second."""
import torch
from torch import Tensor, nn

from mmgcp.registry import MODELS
from mmgcp.utils.errors import SetupError

from .token_pooling import TokenPooling, check_heads


@MODELS.register_module()
class MomentPooling(TokenPooling):
    """First moment and convolved cross-covariances of heads (Gao et al., Moment Probing, ICCV 2023).

    A linear map of the tokens is split into heads, each normalised by LayerNorm. The cross-covariances of neighbouring
    heads, with columns of unit length, are the channels of an image that two 3x3 convolutions of stride 2 shrink:
    512 channels in 4 heads give 3 x 31 x 31 = 2,883 numbers. The vector is half the first moment, followed by half of
    these numbers: on it, one linear classifier is the mean of two, as published.

    Means are taken per dimension; the published code subtracts one scalar per image.

    Args:
        in_channels (int): Channels C of the tokens.
        channels (int): Channels of all heads together. Default: 512.
        heads (int): Number of heads. Default: 4.
        extra_tokens (int): Tokens in front of those of the image, of which the first is the class token. It is the
            first moment; where there is none, it is the LayerNorm of the mean token. Default: 0.
        init_cfg (dict, optional): Initialisation. Default: PyTorch's.

    Raises:
        SetupError: If there are fewer than two heads, they do not divide the channels, or have fewer than 7 channels.

    Examples:
        >>> neck = MomentPooling(in_channels=320)
        >>> neck((torch.rand(2, 320, 7, 7), ))[0].shape, neck.out_channels - 320
        (torch.Size([2, 3203]), 2883)
    """

    def __init__(self, in_channels: int, channels: int = 512, heads: int = 4, extra_tokens: int = 0,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        check_heads(channels, heads, least=2)
        size, pairs = channels // heads, heads - 1
        if size < 7:
            raise SetupError(f'channels={channels} in heads={heads} leave {size} channels per head, and the two '
                             'convolutions need at least 7: take fewer heads')
        self.heads, self.extra_tokens = heads, extra_tokens
        self.projection = nn.Linear(in_channels, channels)
        self.norm = nn.LayerNorm(size)
        self.first_norm = nn.Identity() if extra_tokens else nn.LayerNorm(in_channels, eps=1e-6)
        self.shrink = nn.Sequential(nn.Conv2d(pairs, pairs, 3, stride=2, bias=False), nn.GELU(),
                                    nn.Conv2d(pairs, pairs, 3, stride=2, bias=False))
        side = ((size - 1) // 2 - 1) // 2
        self.out_channels = in_channels + pairs * side**2

    def pool(self, tokens: Tensor) -> Tensor:
        """Pool tokens (B, N, C) to (B, :attr:`out_channels`).

        Raises:
            SetupError: If there are not at least two tokens of the image, whose covariance would be zero.
        """
        words = tokens[:, self.extra_tokens:]
        if words.shape[1] < 2:
            raise SetupError('MomentPooling needs at least two pixels or tokens, whose covariance it takes: enlarge '
                             'the images')
        first = tokens[:, 0] if self.extra_tokens else self.first_norm(words.mean(1))
        heads = self.norm(self.projection(words).unflatten(2, (self.heads, -1))).transpose(1, 2)  # (B, heads, N, d)
        heads = heads - heads[:, :, :1].detach()  # equal tokens give exact zeros, which a rounded mean may not
        heads = heads - heads.mean(2, keepdim=True)
        cross = heads[:, :-1].transpose(2, 3) @ heads[:, 1:] / words.shape[1]
        moments = self.shrink(nn.functional.normalize(cross, dim=2))
        return torch.cat([first, moments.flatten(1)], 1) / 2
