"""Necks."""
from .attentive_pooling import AttentivePooling
from .global_covariance_pooling import GlobalCovariancePooling
from .moment_pooling import MomentPooling

__all__ = ['AttentivePooling', 'GlobalCovariancePooling', 'MomentPooling']
