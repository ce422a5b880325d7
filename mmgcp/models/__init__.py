"""Registered modules around :mod:`mmgcp.ops` and MMPretrain's networks."""
from .backbones import GCPResNet
from .necks import GlobalCovariancePooling

__all__ = ['GCPResNet', 'GlobalCovariancePooling']
