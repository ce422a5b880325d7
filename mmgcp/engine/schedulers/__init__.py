"""Schedules of the paper that MMEngine lacks, and the learning-rate curve of any config."""
from .closed_form import PolynomialLR, PolynomialMomentum, StagewiseLinearLR
from .curve import lr_curve

__all__ = ['PolynomialLR', 'PolynomialMomentum', 'StagewiseLinearLR', 'lr_curve']
