"""Learning-rate schedules of the paper that MMEngine does not have, and the curve of any schedule."""
from .closed_form import PolynomialLR, StagewiseLinearLR
from .curve import lr_curve

__all__ = ['PolynomialLR', 'StagewiseLinearLR', 'lr_curve']
