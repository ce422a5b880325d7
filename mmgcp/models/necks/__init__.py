"""Necks."""
from .global_covariance_pooling import GlobalCovariancePooling

__all__ = ['GlobalCovariancePooling']
