"""Necks."""
from .first_and_second_order import FirstAndSecondOrderPooling
from .global_covariance_pooling import GlobalCovariancePooling

__all__ = ['FirstAndSecondOrderPooling', 'GlobalCovariancePooling']
