"""Registered modules around :mod:`mmgcp.ops` and MMPretrain's networks."""
from .backbones import AlexNet, GCPResNet
from .heads import DropoutLinearClsHead
from .necks import GlobalCovariancePooling

__all__ = ['AlexNet', 'DropoutLinearClsHead', 'GCPResNet', 'GlobalCovariancePooling']
