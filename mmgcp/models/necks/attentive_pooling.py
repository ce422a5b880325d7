"""Neck that pools tokens by the attention that learned queries pay to them."""
import torch
from torch import Tensor, nn

from mmgcp.registry import MODELS

from .token_pooling import TokenPooling, check_heads


@MODELS.register_module()
class AttentivePooling(TokenPooling):
    """Cross-attention of one learned query with normalised tokens, as in probes of self-supervised networks.

    Head h gives ``V_h sum_n softmax_n(q_h . x_n / sqrt(C)) x_n + b_h``. A key matrix would be redundant: its product
    with the query is another vector ``q_h`` (C). The values are linear in the tokens, so they are taken of the sum.

    Args:
        in_channels (int): Channels C of the tokens.
        channels (int, optional): Channels of the values of all heads together. Default: C.
        heads (int): Number of heads. Default: 8.
        init_cfg (dict, optional): Initialisation. Default: queries truncated normal (0.02), else PyTorch's.

    Raises:
        SetupError: If the heads do not divide the channels.

    Examples:
        >>> neck = AttentivePooling(in_channels=320)
        >>> neck((torch.rand(2, 320, 7, 7), ))[0].shape, neck.out_channels
        (torch.Size([2, 320]), 320)
    """

    def __init__(self, in_channels: int, channels: int | None = None, heads: int = 8,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.out_channels = in_channels if channels is None else channels
        check_heads(self.out_channels, heads)
        self.norm = nn.LayerNorm(in_channels)
        self.query = nn.Parameter(nn.init.trunc_normal_(torch.empty(heads, in_channels), std=0.02))
        self.value = nn.Linear(in_channels, self.out_channels)

    def pool(self, tokens: Tensor) -> Tensor:
        """Pool tokens (B, N, C) to (B, :attr:`out_channels`)."""
        tokens = self.norm(tokens)
        attention = (tokens @ self.query.t() / tokens.shape[2]**0.5).softmax(1)  # (B, N, heads)
        value = self.value.weight.unflatten(0, (len(self.query), -1))  # (heads, d, C)
        return torch.einsum('bhc,hdc->bhd', attention.transpose(1, 2) @ tokens, value).flatten(1) + self.value.bias
