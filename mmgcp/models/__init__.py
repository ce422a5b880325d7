"""Registered modules around :mod:`mmgcp.ops` and MMPretrain's networks."""
from . import model_hub  # noqa: F401 (tells MMPretrain the names of the classifiers)
from .backbones import AlexNet, GCPResNet
from .heads import DropoutLinearClsHead
from .necks import GlobalCovariancePooling

__all__ = ['AlexNet', 'DropoutLinearClsHead', 'GCPResNet', 'GlobalCovariancePooling']
