"""Necks."""
from .attentive_pooling import AttentivePooling
from .first_and_second_order import FirstAndSecondOrderPooling
from .global_covariance_pooling import GlobalCovariancePooling
from .moment_pooling import MomentPooling

__all__ = ['AttentivePooling', 'FirstAndSecondOrderPooling', 'GlobalCovariancePooling', 'MomentPooling']
