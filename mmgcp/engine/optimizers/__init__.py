"""Optimisers that MMEngine does not have."""
from .kfac_optim_wrapper import KFACOptimWrapper

__all__ = ['KFACOptimWrapper']
