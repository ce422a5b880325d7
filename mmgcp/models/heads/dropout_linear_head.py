"""Linear classifier with dropout."""
from mmpretrain.models.heads import LinearClsHead
from torch import Tensor, nn

from mmgcp.registry import MODELS


@MODELS.register_module()
class DropoutLinearClsHead(LinearClsHead):
    """MMPretrain's ``LinearClsHead``, parameter names included, after dropout, as published for MobileNetV2.

    Args:
        dropout_rate (float): Share of the features to set to 0 in training. Default: 0.2, as in MobileNetV2.
        **kwargs: Arguments of ``LinearClsHead``.

    Raises:
        ValueError: If ``dropout_rate`` is not in [0, 1).

    Examples:
        >>> import torch
        >>> head = DropoutLinearClsHead(in_channels=2080, num_classes=10)
        >>> head((torch.rand(2, 2080), )).shape
        torch.Size([2, 10])
    """

    def __init__(self, dropout_rate: float = 0.2, **kwargs) -> None:
        if not 0 <= dropout_rate < 1:
            raise ValueError(f'dropout_rate={dropout_rate} must be in [0, 1)')
        super().__init__(**kwargs)
        self.dropout = nn.Dropout(dropout_rate)

    def pre_logits(self, feats: tuple[Tensor]) -> Tensor:
        """Return the features of the last stage, (B, C), after dropout."""
        return self.dropout(super().pre_logits(feats))
