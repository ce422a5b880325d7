"""Schedules of the paper that MMEngine does not have, and the curve of any schedule."""
from .closed_form import PolynomialLR, PolynomialMomentum, StagewiseLinearLR
from .curve import lr_curve

__all__ = ['PolynomialLR', 'PolynomialMomentum', 'StagewiseLinearLR', 'lr_curve']
