"""Heads."""
from .dropout_linear_head import DropoutLinearClsHead
from .fusion_head import FusionClsHead

__all__ = ['DropoutLinearClsHead', 'FusionClsHead']
