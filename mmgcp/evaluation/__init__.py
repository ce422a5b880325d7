"""Metrics for robustness that MMPretrain and MMDetection lack."""
from .corruption_error import CorruptionError
from .perturbation_stability import PerturbationStability

__all__ = ['CorruptionError', 'PerturbationStability']
