"""Registered modules around :mod:`mmgcp.ops` and MMPretrain's networks.

Examples:
    >>> import torch
    >>> from mmengine.registry import MODELS
    >>> import mmgcp.models
    >>> neck = MODELS.build(dict(type='mmgcp.GlobalCovariancePooling', in_channels=512, reduced_channels=64))
    >>> neck(torch.rand(2, 512, 7, 7)).shape
    torch.Size([2, 2080])
"""
from . import model_hub  # noqa: F401 (tells MMPretrain the names of the classifiers)
from .backbones import AlexNet, GCPResNet
from .heads import DropoutLinearClsHead, FusionClsHead
from .necks import AttentivePooling, FirstAndSecondOrderPooling, GlobalCovariancePooling, MomentPooling

__all__ = [
    'AlexNet', 'AttentivePooling', 'DropoutLinearClsHead', 'FirstAndSecondOrderPooling', 'FusionClsHead', 'GCPResNet',
    'GlobalCovariancePooling', 'MomentPooling'
]
