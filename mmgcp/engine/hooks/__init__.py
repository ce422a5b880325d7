"""Hooks."""
from .epoch_seed_hook import EpochSeedHook
from .sanity_check_hook import NonFiniteLossError, SanityCheckHook

__all__ = ['EpochSeedHook', 'NonFiniteLossError', 'SanityCheckHook']
