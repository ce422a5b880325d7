"""AlexNet with weights from a checkpoint."""
from mmpretrain.models.backbones import AlexNet as _AlexNet

from mmgcp.registry import MODELS


@MODELS.register_module()
class AlexNet(_AlexNet):
    """MMPretrain's AlexNet, which has torchvision's layers under torchvision's names, and takes ``init_cfg`` as well.

    Args:
        num_classes (int): Classes; -1 for features alone.
        init_cfg (dict, optional): Initialisation: ``dict(type='Pretrained', checkpoint='torchvision://alexnet')``.
    """

    def __init__(self, num_classes: int = -1, init_cfg: dict | None = None):
        super().__init__(num_classes)
        self.init_cfg = init_cfg
