"""Hooks."""
from .channels_last_hook import ChannelsLastHook
from .covariance_diagnostics_hook import CovarianceDiagnosticsHook
from .epoch_seed_hook import EpochSeedHook
from .sanity_check_hook import NonFiniteLossError, SanityCheckHook

__all__ = ['ChannelsLastHook', 'CovarianceDiagnosticsHook', 'EpochSeedHook', 'NonFiniteLossError', 'SanityCheckHook']
