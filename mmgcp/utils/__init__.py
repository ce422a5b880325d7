"""The ground of the package: errors, records, logs, configs, checkpoints, processes."""
from .registration import register_all_modules

__all__ = ['register_all_modules']
