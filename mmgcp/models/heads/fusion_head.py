"""Linear classifier of class token and covariance."""
import torch
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmgcp.registry import MODELS

FUSIONS = ('sum', 'concat', 'loss')


@MODELS.register_module()
class FusionClsHead(LinearClsHead):
    """Classifier on the two outputs of :class:`FirstAndSecondOrderPooling` (So-ViT, Xie et al., 2021).

    Args:
        num_classes (int): Number of classes.
        in_channels (int): Length of the second-order representation, the neck's ``out_channels``.
        first_channels (int): Length of the class token, the backbone's channels.
        fusion (str): ``'sum'`` of the scores of two linear layers; ``'concat'``, one linear layer on both, the same
            function from other initial weights; ``'loss'``, the sum of the losses of two linear layers, whose scores
            are averaged for prediction. Default: ``'sum'``.
        **kwargs: Arguments of MMPretrain's ``LinearClsHead``.

    Raises:
        ValueError: If ``fusion`` is unknown or a number of channels is below 1.

    Examples:
        >>> head = FusionClsHead(num_classes=10, in_channels=1176, first_channels=384)
        >>> head((torch.rand(2, 384), torch.rand(2, 1176))).shape
        torch.Size([2, 10])
    """

    def __init__(self, num_classes: int, in_channels: int, first_channels: int, fusion: str = 'sum', **kwargs) -> None:
        if fusion not in FUSIONS:
            raise ValueError(f"fusion='{fusion}' must be one of {', '.join(FUSIONS)}")
        if min(in_channels, first_channels) < 1:
            raise ValueError(f'in_channels={in_channels} and first_channels={first_channels} must be at least 1')
        super().__init__(num_classes, in_channels + first_channels if fusion == 'concat' else in_channels, **kwargs)
        self.in_channels, self.fusion = in_channels, fusion  # of the second-order representation, as the neck has it
        if fusion != 'concat':
            self.fc_first = nn.Linear(first_channels, num_classes)

    def pre_logits(self, feats: tuple[Tensor, Tensor]) -> Tensor | tuple[Tensor, Tensor]:
        """Return the features that the linear layers read: concatenated for one layer, else both."""
        if len(feats) != 2:
            raise ValueError('FusionClsHead takes class token and second-order representation, got '
                             f'{len(feats)} features: use the neck mmgcp.FirstAndSecondOrderPooling')
        return torch.cat(feats, 1) if self.fusion == 'concat' else feats

    def forward(self, feats: tuple[Tensor, Tensor]) -> Tensor:
        """Compute the scores before the softmax, (B, classes)."""
        if self.fusion == 'concat':
            return self.fc(self.pre_logits(feats))
        first, second = self._scores(feats)
        return first + second if self.fusion == 'sum' else (first + second) / 2

    def loss(self, feats: tuple[Tensor, Tensor], data_samples: list[DataSample], **kwargs) -> dict:
        """Compute the losses, which MMEngine sums: one, or for ``'loss'`` one per linear layer."""
        if self.fusion != 'loss':
            return super().loss(feats, data_samples, **kwargs)
        losses = {}
        for name, scores in zip(('first', 'second'), self._scores(feats), strict=True):
            losses.update((f'{key}_{name}', value)
                          for key, value in self._get_loss(scores, data_samples, **kwargs).items())
        return losses

    def _scores(self, feats: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        first, second = self.pre_logits(feats)
        return self.fc_first(first), self.fc(second)
