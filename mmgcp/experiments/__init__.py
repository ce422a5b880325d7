"""Experiments: run a plan of trainings and measurements, and record their results."""
from .plan import Measurement, Plan, Training, read_plan

__all__ = ['Measurement', 'Plan', 'Training', 'read_plan']
