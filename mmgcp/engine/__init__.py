"""Schedules, optimizers and hooks for training."""
from . import hooks, optimizers, schedulers
from .hooks import *  # noqa: F403
from .optimizers import *  # noqa: F403
from .schedulers import *  # noqa: F403

__all__ = [*hooks.__all__, *optimizers.__all__, *schedulers.__all__]
