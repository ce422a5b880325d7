"""Experiments: a plan of trainings and measurements is carried out, and the results are put down and told."""
from .plan import Measurement, Plan, Training, read_plan

__all__ = ['Measurement', 'Plan', 'Training', 'read_plan']
