"""Mathematics of covariance pooling. Needs torch alone: usable from any PyTorch code."""
from .pooling import METHODS, SIDES, check_arguments, covariance_pool
from .triu import symmetric_from_triu, triu_size, triu_vector

__all__ = [
    'METHODS', 'SIDES', 'check_arguments', 'covariance_pool', 'symmetric_from_triu', 'triu_size', 'triu_vector'
]
