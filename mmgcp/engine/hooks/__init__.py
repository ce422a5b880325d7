"""Hooks for MMEngine's runner."""
from mmgcp.utils.errors import NonFiniteLossError

from .channels_last_hook import ChannelsLastHook
from .covariance_diagnostics_hook import CovarianceDiagnosticsHook
from .epoch_seed_hook import EpochSeedHook
from .landscape_hook import LandscapeHook
from .log_position_hook import LogPositionHook
from .matching_epoch_hook import MatchingEpochHook
from .resumed_settings_hook import ResumedSettingsHook
from .resumed_validation_hook import ResumedValidationHook
from .sanity_check_hook import SanityCheckHook

__all__ = [
    'ChannelsLastHook', 'CovarianceDiagnosticsHook', 'EpochSeedHook', 'LandscapeHook', 'LogPositionHook',
    'MatchingEpochHook', 'NonFiniteLossError', 'ResumedSettingsHook', 'ResumedValidationHook', 'SanityCheckHook'
]
