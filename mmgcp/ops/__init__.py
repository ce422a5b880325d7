"""Covariance pooling for any PyTorch code; needs only torch.

Examples:
    >>> import torch
    >>> from mmgcp.ops import METHODS, CovariancePooling, covariance_pool
    >>> x = torch.rand(2, 8, 7, 7)
    >>> covariance_pool(x).shape
    torch.Size([2, 8, 8])
    >>> layer = CovariancePooling(8, 'power', alpha=0.3)
    >>> layer(x).shape, layer.out_channels
    (torch.Size([2, 36]), 36)
    >>> list(METHODS)[:4]
    ['covariance', 'newton_schulz', 'polar_express', 'eigh']
"""
from .cross_covariance import CrossCovariancePooling, cross_covariance_pool
from .diagnostics import covariance_diagnostics
from .dropcov import draw_gate
from .methods import METHODS
from .module import CovariancePooling
from .pooling import covariance_pool
from .tensor_sketch import draw_sketch
from .triu import symmetric_from_triu, triu_size, triu_vector

__all__ = [
    'METHODS', 'CovariancePooling', 'CrossCovariancePooling', 'covariance_diagnostics', 'covariance_pool',
    'cross_covariance_pool', 'draw_gate', 'draw_sketch', 'symmetric_from_triu', 'triu_size', 'triu_vector'
]
