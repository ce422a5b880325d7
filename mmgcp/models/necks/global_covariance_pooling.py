"""Neck that replaces global average pooling."""
from collections.abc import Sequence
from types import MappingProxyType

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule, initialize
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from torch import Tensor

from mmgcp.ops import CovariancePooling, CrossCovariancePooling
from mmgcp.registry import MODELS
from mmgcp.utils.checkpoint import is_pretrained
from mmgcp.utils.errors import SetupError, check_counts

BN, RELU = MappingProxyType(dict(type='BN')), MappingProxyType(dict(type='ReLU'))
INIT_CFG = (
    dict(type='Kaiming', layer='Conv2d', mode='fan_out', nonlinearity='relu'),
    dict(type='Constant', layer='_BatchNorm', val=1),
)


@MODELS.register_module()
class GlobalCovariancePooling(BaseModule):
    """The GCP meta-layer: 1x1 reduction, BN, activation, normalised covariance, upper triangle as a vector.

    It replaces ``GlobalAveragePooling`` between a backbone and ``LinearClsHead``, whose ``in_channels`` become
    :attr:`out_channels`: 32,896 for 256 reduced channels (Wang et al., CVPR 2020, Section 3.1; Li et al., CVPR 2018).

    Args:
        in_channels (int): Channels C of the backbone's last stage.
        reduced_channels (int): Channels D whose covariance is taken. Default: 256, the paper's; Table 5 has 128.
        method (str): A name in :data:`mmgcp.ops.METHODS`. Default: ``'newton_schulz'``.
        norm_cfg (dict, optional): Normalisation after the reduction; None for a bias in its place. Default: BN.
        act_cfg (dict, optional): Activation after it; None for none. Default: ReLU.
        heads (int, optional): Number of heads of :func:`mmgcp.ops.cross_covariance_pool`, which replaces ``method``
            and gives ``D^2 / (4 heads)`` numbers: 2,048 for 256 channels and 8 heads. Default: None.
        init_cfg (dict or list): Initialisation. Default: Kaiming normal with fan-out for the convolution, as published.
        **options: Further arguments of :class:`mmgcp.ops.CovariancePooling`, such as ``num_iters=5``, or with ``heads``
            of :class:`mmgcp.ops.CrossCovariancePooling`.

    Raises:
        ValueError: If a number of channels is below 1, or a setting is unknown or out of range.

    Examples:
        >>> import torch
        >>> neck = GlobalCovariancePooling(in_channels=512, reduced_channels=64)
        >>> neck((torch.rand(2, 512, 7, 7), ))[0].shape, neck.out_channels
        (torch.Size([2, 2080]), 2080)
    """

    def __init__(self, in_channels: int, reduced_channels: int = 256, method: str = 'newton_schulz',
                 norm_cfg: dict | None = BN, act_cfg: dict | None = RELU, heads: int | None = None,
                 init_cfg: dict | Sequence[dict] | None = INIT_CFG, **options) -> None:
        super().__init__(init_cfg=list(init_cfg) if isinstance(init_cfg, tuple) else init_cfg)
        check_counts(in_channels=in_channels, reduced_channels=reduced_channels)
        self.published_init = init_cfg is INIT_CFG
        self.reduction = ConvModule(in_channels, reduced_channels, 1, norm_cfg=norm_cfg and dict(norm_cfg),
                                    act_cfg=act_cfg and dict(act_cfg))
        if heads is None:
            self.pooling = CovariancePooling(reduced_channels, method, **options)
        elif method != 'newton_schulz':
            raise ValueError(f"heads={heads} takes the cross-covariance in place of method='{method}': set one of them")
        else:
            self.pooling = CrossCovariancePooling(reduced_channels, heads, **options)
        self.out_channels = self.pooling.out_channels

    def init_weights(self) -> None:
        """Initialise the weights as ``init_cfg`` says, which ``ConvModule`` would override by its own."""
        first = not self._is_init
        super().init_weights()
        if first and self.init_cfg and not self.published_init:  # the published one is what ConvModule does
            cfgs = [self.init_cfg] if isinstance(self.init_cfg, dict) else self.init_cfg
            # A checkpoint goes last, as in MMEngine.
            initialize(self, sorted(cfgs, key=is_pretrained))

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        if not self.reduction.with_norm and f'{prefix}reduction.bn.weight' in state_dict:
            raise SetupError('the checkpoint has BN in the covariance-pooling neck, which norm_cfg=None builds without '
                             "it: leave norm_cfg out, or set norm_cfg=dict(type='BN')")
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _reduce(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Reduce the channels, keeping masked-out pixels out of BN's statistics."""
        if mask is None:
            return self.reduction(x)
        if not (self.training and self.reduction.with_norm and isinstance(self.reduction.norm, _BatchNorm)):
            return self.reduction(x.masked_fill(~mask[:, None], 0))
        valid = self.reduction(x.movedim(1, -1)[mask][..., None, None])[..., 0, 0]
        reduced = valid.new_zeros(*mask.shape, valid.shape[1])
        reduced[mask] = valid
        return reduced.movedim(-1, 1)

    def forward(self, inputs: Tensor | tuple[Tensor], mask: Tensor | None = None) -> Tensor | tuple[Tensor]:
        """Pool the feature map (B, C, H, W) or the tokens (B, N, C) of one stage, alone or in a tuple.

        Args:
            inputs (Tensor or tuple[Tensor]): Features; also tokens (B, C, N), as MLP-Mixer gives them, if N is not C.
            mask (Tensor, optional): Boolean, true where a pixel (B, H, W) or token (B, N) is valid.

        Returns:
            Tensor or tuple[Tensor]: (B, :attr:`out_channels`), in a tuple if the input was in one.

        Raises:
            ValueError: If a tuple holds more than one feature map, or none.
            SetupError: If there is only one pixel or token, whose covariance is zero.
        """
        if isinstance(inputs, tuple):
            if len(inputs) != 1:
                raise ValueError('GlobalCovariancePooling reduces the channels of one feature map, the backbone gives '
                                 f'{len(inputs)}: set its out_indices to the last stage alone')
            return (self.forward(inputs[0], mask), )
        if inputs.dim() == 3:  # tokens are an image of one column
            channels_last = inputs.shape[2] == self.reduction.in_channels
            inputs = (inputs.transpose(1, 2) if channels_last else inputs)[..., None]
            mask = None if mask is None else mask[..., None]
        has_mean = self.pooling.method == 'gaussian' or not getattr(self.pooling, 'options', {}).get('center', True)
        if inputs.shape[2] == inputs.shape[3] == 1 and not has_mean:
            raise SetupError('the last feature map has one pixel alone, whose covariance is zero: ResNets end so for '
                             "images of up to 32 px, with model.backbone.conv5_downsample='none' for those of up to "
                             '16 px: set that, or resize the images in the pipelines')
        return self.pooling(self._reduce(inputs, mask), mask)
