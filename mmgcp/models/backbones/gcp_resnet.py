"""ResNet with the paper's three options for down-sampling before conv5."""
import torch.nn.functional as F
from mmpretrain.models.backbones import ResNet
from mmpretrain.models.backbones.resnet import ResLayer
from torch import Tensor, nn

from mmgcp.registry import MODELS
from mmgcp.utils.checkpoint import assert_fits, is_pretrained, load_state_dict


class MaxPoolResLayer(ResLayer):
    """Residual stage after a 3x3 max-pooling with stride 2; its parameters have the names of ``ResLayer``'s."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H / 2, W / 2), rounded up."""
        return super().forward(F.max_pool2d(x, kernel_size=3, stride=2, padding=1))


@MODELS.register_module()
class GCPResNet(ResNet):
    """MMPretrain's ResNet, whose last stage (conv5) keeps, strides or max-pools the resolution of conv4.

    ======================  ==============  ===================================  ===============
    ``conv5_downsample``    in the paper    before conv5_1                       conv5 at 224 px
    ======================  ==============  ===================================  ===============
    ``'none'``              GCP (w/o DS)    nothing, and conv5_1 has stride 1    14 x 14
    ``'stride'``            GCP_D (w/ DS)   nothing, and conv5_1 has stride 2    7 x 7
    ``'max_pool'``          GCP_M           max-pooling with stride 2            7 x 7
    ======================  ==============  ===================================  ===============

    The paper gives only the stride of the max-pooling. The kernel is 3x3 with padding 1 here, as in the stem, so that
    the feature maps have the same size as with a stride, for every image size.

    All three have the parameter names and shapes of ``ResNet``: any checkpoint loads into any of them. With
    ``init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')``, a checkpoint that lacks a tensor or has
    one of another shape raises an error, instead of leaving part of the network untrained.

    Args:
        depth (int): 18, 34, 50, 101 or 152.
        conv5_downsample (str): See above. Default: ``'none'``, as in the paper's ImageNet models.
        **kwargs: Further arguments of ``mmpretrain.models.ResNet``, except ``strides`` and ``num_stages``.

    Raises:
        ValueError: If ``conv5_downsample`` is unknown.
        SetupError: In ``init_weights``, if the checkpoint lacks a tensor or has one of another shape.

    Examples:
        >>> import torch
        >>> for conv5_downsample in ('none', 'stride', 'max_pool'):
        ...     print(tuple(GCPResNet(18, conv5_downsample)(torch.rand(1, 3, 64, 64))[-1].shape))
        (1, 512, 4, 4)
        (1, 512, 2, 2)
        (1, 512, 2, 2)
    """

    CONV5_STRIDES = {'none': 1, 'stride': 2, 'max_pool': 1}

    def __init__(self, depth: int, conv5_downsample: str = 'none', **kwargs) -> None:
        if conv5_downsample not in self.CONV5_STRIDES:
            raise ValueError(f"conv5_downsample='{conv5_downsample}' is unknown: choose one of "
                             f"{', '.join(self.CONV5_STRIDES)}")
        self.conv5_downsample = conv5_downsample
        super().__init__(depth, strides=(1, 2, 2, self.CONV5_STRIDES[conv5_downsample]), **kwargs)
        shortcut = self.layer4[0].downsample
        if self.avg_down and len(shortcut) == 2:  # with stride 1 there is no pooling before convolution and BN
            self.layer4[0].downsample = nn.Sequential(nn.Identity(), *shortcut)

    def make_res_layer(self, **kwargs) -> ResLayer:
        """Build a stage; for ``'max_pool'``, conv5 with the max-pooling in front."""
        is_conv5 = len(self.res_layers) == 3
        return (MaxPoolResLayer if is_conv5 and self.conv5_downsample == 'max_pool' else ResLayer)(**kwargs)

    def train(self, mode: bool = True) -> 'GCPResNet':
        """Set the mode and return the network, as PyTorch's modules do and MMPretrain's ResNet does not."""
        super().train(mode)
        return self

    def init_weights(self) -> None:
        """Initialise the weights as ``init_cfg`` says, from a checkpoint only if it fits."""
        if isinstance(self.init_cfg, dict) and is_pretrained(self.init_cfg):
            checkpoint = self.init_cfg['checkpoint']
            assert_fits(self, load_state_dict(checkpoint), checkpoint, self.init_cfg.get('prefix') or '')
        super().init_weights()
