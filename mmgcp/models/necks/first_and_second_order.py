"""Neck that keeps the class token, or the average, beside the covariance."""
from torch import Tensor

from mmgcp.registry import MODELS
from mmgcp.utils.errors import check_counts

from .global_covariance_pooling import GlobalCovariancePooling

FIRST = ('class_token', 'mean')


@MODELS.register_module()
class FirstAndSecondOrderPooling(GlobalCovariancePooling):
    """Class token and covariance of the other tokens (So-ViT, Xie et al., 2021), for :class:`FusionClsHead`.

    Args:
        first (str): ``'class_token'`` for tokens (B, N, C) that begin with it, as transformers of MMPretrain return
            them with ``out_type='raw'``; ``'mean'`` for the average of a map or of tokens. Default: ``'class_token'``.
        num_extra_tokens (int): Tokens before those of the image, class token first; 2 with distillation. Default: 1.
        **kwargs: Arguments of :class:`GlobalCovariancePooling`.

    Raises:
        ValueError: If a setting is out of range.

    Examples:
        >>> import torch
        >>> neck = FirstAndSecondOrderPooling(in_channels=384, reduced_channels=168, heads=6)
        >>> [out.shape for out in neck((torch.rand(2, 197, 384), ))]
        [torch.Size([2, 384]), torch.Size([2, 1176])]
    """

    def __init__(self, *args, first: str = 'class_token', num_extra_tokens: int = 1, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if first not in FIRST:
            raise ValueError(f"first='{first}' must be one of {', '.join(FIRST)}")
        check_counts(num_extra_tokens=num_extra_tokens)
        self.first, self.num_extra_tokens = first, num_extra_tokens

    def forward(self, inputs: Tensor | tuple[Tensor], mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Pool the features of one stage.

        Args:
            inputs (Tensor or tuple[Tensor]): Map (B, C, H, W) or tokens (B, N, C), alone or in a tuple.
            mask (Tensor, optional): Boolean, (B, H, W) or (B, N) without extra tokens, true where valid.

        Returns:
            tuple[Tensor, Tensor]: Class token or average (B, C), and (B, :attr:`out_channels`).

        Raises:
            ValueError: If a tuple holds more than one feature map, or a map is to have a class token.
            SetupError: If there is only one pixel or token, whose covariance is zero.
        """
        if isinstance(inputs, tuple):
            if len(inputs) != 1:
                raise ValueError(f'{type(self).__name__} takes one feature map, the backbone gives {len(inputs)}: set '
                                 'its out_indices to the last stage alone')
            inputs = inputs[0]
        if self.first == 'class_token':
            if inputs.dim() != 3:
                raise ValueError(f"first='class_token' takes tokens (B, N, C), got the shape {tuple(inputs.shape)}: "
                                 "set out_type='raw' of the backbone, or first='mean'")
            first, inputs = inputs[:, 0], inputs[:, self.num_extra_tokens:]
        else:
            channels_last = inputs.dim() == 3 and inputs.shape[2] == self.reduction.in_channels
            pixels = inputs.transpose(1, 2) if channels_last else inputs.flatten(2)
            if mask is None:
                first = pixels.mean(-1)
            else:
                valid = mask.flatten(1)[:, None]
                first = pixels.masked_fill(~valid, 0).sum(-1) / valid.sum(-1).clamp(min=1)
        return first, super().forward(inputs, mask)
