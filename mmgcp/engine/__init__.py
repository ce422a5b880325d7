"""Schedules, optimizers and hooks for training."""
from .hooks import *  # noqa: F403
from .optimizers import *  # noqa: F403
from .schedulers import *  # noqa: F403
