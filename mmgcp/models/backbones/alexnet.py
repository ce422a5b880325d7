"""AlexNet with weights from a checkpoint."""
from mmpretrain.models.backbones import AlexNet as _AlexNet

from mmgcp.registry import MODELS


@MODELS.register_module()
class AlexNet(_AlexNet):
    """MMPretrain's AlexNet, with torchvision's layers and names, plus ``init_cfg``.

    Args:
        num_classes (int): Number of classes; -1 to return features.
        init_cfg (dict, optional): Initialisation: ``dict(type='Pretrained', checkpoint='torchvision://alexnet')``.

    Examples:
        >>> import torch
        >>> AlexNet()(torch.rand(1, 3, 224, 224))[0].shape
        torch.Size([1, 256, 6, 6])
    """

    def __init__(self, num_classes: int = -1, init_cfg: dict | None = None) -> None:
        super().__init__(num_classes)
        self.init_cfg = init_cfg

    def train(self, mode: bool = True) -> 'AlexNet':
        """Set the mode and return the network, as PyTorch's modules do and MMPretrain's AlexNet does not."""
        super().train(mode)
        return self
