"""Metrics that MMPretrain and MMDetection do not have."""
from .corruption_error import CorruptionError
from .perturbation_stability import PerturbationStability

__all__ = ['CorruptionError', 'PerturbationStability']
