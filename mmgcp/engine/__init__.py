"""What happens while training: schedules, optimisers and hooks."""
from .hooks import CovarianceDiagnosticsHook, EpochSeedHook, LandscapeHook, MatchingEpochHook, SanityCheckHook
from .optimizers import KFACOptimWrapper
from .schedulers import PolynomialLR, PolynomialMomentum, StagewiseLinearLR

__all__ = [
    'CovarianceDiagnosticsHook', 'EpochSeedHook', 'KFACOptimWrapper', 'LandscapeHook', 'MatchingEpochHook',
    'PolynomialLR', 'PolynomialMomentum', 'SanityCheckHook', 'StagewiseLinearLR'
]
