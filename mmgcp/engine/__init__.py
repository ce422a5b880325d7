"""What happens while training: schedules and hooks."""
from .hooks import CovarianceDiagnosticsHook, EpochSeedHook, SanityCheckHook
from .schedulers import PolynomialLR, StagewiseLinearLR

__all__ = ['CovarianceDiagnosticsHook', 'EpochSeedHook', 'PolynomialLR', 'SanityCheckHook', 'StagewiseLinearLR']
