"""Registered modules around :mod:`mmgcp.ops` and MMPretrain's networks."""
from .backbones import GCPResNet
from .heads import DropoutLinearClsHead
from .necks import GlobalCovariancePooling

__all__ = ['DropoutLinearClsHead', 'GCPResNet', 'GlobalCovariancePooling']
