"""Schedules, optimizers and hooks for training."""
from .hooks import CovarianceDiagnosticsHook, EpochSeedHook, LandscapeHook, MatchingEpochHook, SanityCheckHook
from .optimizers import BFloat16OptimWrapper, KFACOptimWrapper, RAdamW
from .schedulers import PolynomialLR, PolynomialMomentum, StagewiseLinearLR

__all__ = [
    'BFloat16OptimWrapper', 'CovarianceDiagnosticsHook', 'EpochSeedHook', 'KFACOptimWrapper',
    'LandscapeHook', 'MatchingEpochHook', 'PolynomialLR', 'PolynomialMomentum', 'RAdamW', 'SanityCheckHook',
    'StagewiseLinearLR'
]
