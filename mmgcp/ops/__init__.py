"""Mathematics of covariance pooling. Needs torch alone: usable from any PyTorch code."""
from .diagnostics import covariance_diagnostics
from .methods import METHODS
from .module import CovariancePooling
from .pooling import covariance_pool
from .tensor_sketch import draw_sketch
from .triu import symmetric_from_triu, triu_size, triu_vector

__all__ = [
    'METHODS', 'CovariancePooling', 'covariance_diagnostics', 'covariance_pool', 'draw_sketch', 'symmetric_from_triu',
    'triu_size', 'triu_vector'
]
