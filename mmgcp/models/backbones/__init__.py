"""Backbones."""
from .gcp_resnet import GCPResNet

__all__ = ['GCPResNet']
