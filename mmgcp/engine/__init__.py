"""What happens while training: schedules and hooks."""
from .hooks import EpochSeedHook, SanityCheckHook
from .schedulers import PolynomialLR, StagewiseLinearLR

__all__ = ['EpochSeedHook', 'PolynomialLR', 'SanityCheckHook', 'StagewiseLinearLR']
