"""Learning-rate schedules of the paper that MMEngine does not have."""
from .closed_form import PolynomialLR, StagewiseLinearLR

__all__ = ['PolynomialLR', 'StagewiseLinearLR']
