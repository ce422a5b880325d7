"""Backbones."""
from .alexnet import AlexNet
from .gcp_resnet import GCPResNet

__all__ = ['AlexNet', 'GCPResNet']
