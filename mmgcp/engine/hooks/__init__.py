"""Hooks."""
from .covariance_diagnostics_hook import CovarianceDiagnosticsHook
from .epoch_seed_hook import EpochSeedHook
from .sanity_check_hook import NonFiniteLossError, SanityCheckHook

__all__ = ['CovarianceDiagnosticsHook', 'EpochSeedHook', 'NonFiniteLossError', 'SanityCheckHook']
