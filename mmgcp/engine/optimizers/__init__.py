"""Optimizers and optimizer wrappers that MMEngine lacks."""
from .bfloat16_optim_wrapper import BFloat16OptimWrapper
from .kfac_optim_wrapper import KFACOptimWrapper
from .radamw import RAdamW

__all__ = ['BFloat16OptimWrapper', 'KFACOptimWrapper', 'RAdamW']
