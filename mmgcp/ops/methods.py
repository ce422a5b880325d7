"""Methods of covariance pooling and their capabilities."""
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from .covariance import covariance_factor, unit_factor
from .dropcov import draw_gate, dropped_factor
from .gaussian import gaussian_factor
from .newton_schulz import newton_schulz_pool
from .numerics import identity_like, signed_power, unit_norm, zero_as_one
from .pade import pade_pool
from .polar_express import polar_express_pool
from .product import product
from .spectral import Log, Power, spectral_pool
from .tensor_sketch import draw_sketch, tensor_sketch
from .triu import triu_vector

SIDES = ('auto', 'gram', 'covariance')
PRE_NORMS = ('trace', 'none')


@dataclass(frozen=True)
class State:
    """Tensors that a method draws once and keeps: buffers or parameters of :class:`mmgcp.ops.CovariancePooling`."""
    option: str  # the method's argument that takes them, as a tuple
    names: tuple[str, ...]  # in checkpoints
    draw: Callable[..., tuple[Tensor, ...]]  # takes the number of channels and the values of the settings
    settings: tuple[str, ...] = ()  # options of the method on which they depend
    learned: bool = False


@dataclass(frozen=True)
class Method:
    """A normalisation of the covariance, and its capabilities.

    Examples:
        >>> METHODS['power'].options
        {'alpha': 0.5, 'side': 'auto', 'center': True, 'shrinkage': 0.0}
        >>> [name for name, method in METHODS.items() if method.returns == 'vector']
        ['compact_bilinear']
    """
    # pool(features (B, C, N) in float32 or float64, mask (B, 1, N) in bool or None, vector, **options with defaults)
    pool: Callable[..., Tensor]
    returns: str = 'matrix'  # or 'vector'; of a matrix, the argument vector selects the upper triangle
    state: State | None = None  # what it keeps from one call to the next
    random: bool = False  # whether it draws random numbers in training; pool then takes training (bool)
    factorises: bool = False  # whether it needs eigenvalues or Cholesky factors; ONNX and torch.compile < 2.7 lack both
    forward_mode: bool = True  # whether it has forward-mode derivatives

    @cached_property
    def options(self) -> dict:
        """Names and defaults of the options, except those that :class:`mmgcp.ops.CovariancePooling` supplies."""
        supplied = ('training', self.state.option if self.state else None)
        parameters = inspect.signature(self.pool).parameters.values()
        return {p.name: p.default for p in parameters if p.default is not p.empty and p.name not in supplied}

    @property
    def sided(self) -> bool:
        """Whether it has the option ``side`` and can run on N x N as well as on C x C matrices."""
        return 'side' in self.options


def plain(features: Tensor, mask: Tensor | None, vector: bool, center: bool = True, shrinkage: float = 0.) -> Tensor:
    """``'covariance'``: the sample covariance itself (Eq. 1); without centring, bilinear pooling."""
    factor = covariance_factor(features, mask, center)
    return _as_asked(_shrunk(product(factor, factor.transpose(1, 2)), shrinkage), vector)


def newton_schulz(features: Tensor, mask: Tensor | None, vector: bool, num_iters: int = 5, side: str = 'auto',
                  center: bool = True, pre_norm: str = 'trace', shrinkage: float = 0.) -> Tensor:
    """``'newton_schulz'``: iSQRT-COV (Li et al., CVPR 2018), see :mod:`mmgcp.ops.newton_schulz`.

    ``pre_norm='none'`` skips the division by the trace: the steps then converge only for eigenvalues below 3.
    """
    if shrinkage:
        if side == 'gram' or pre_norm == 'none':
            raise ValueError("shrinkage makes method='newton_schulz' full rank: it needs side='covariance' or 'auto' "
                             f"and pre_norm='trace', got side='{side}' and pre_norm='{pre_norm}'")
        side = 'covariance'
    return newton_schulz_pool(features, mask, num_iters, _smaller(side, features), center, pre_norm, shrinkage, vector)


def polar_express(features: Tensor, mask: Tensor | None, vector: bool, center: bool = True,
                  shrinkage: float = 0.) -> Tensor:
    """``'polar_express'``: the converged square root by matrix products alone, see :mod:`mmgcp.ops.polar_express`."""
    factor, scale, trace, shift = _unit_trace(features, mask, center, shrinkage)
    side = 'covariance' if shrinkage or features.shape[2] > features.shape[1] else 'gram'
    return _scaled(_as_asked(polar_express_pool(factor, side, center, shift), vector), trace, scale, 0.5)


def eigh(features: Tensor, mask: Tensor | None, vector: bool, side: str = 'auto', center: bool = True,
         shrinkage: float = 0.) -> Tensor:
    """``'eigh'``: the exact square root (Eq. 2), the power 1/2 of MPN-COV."""
    return power(features, mask, vector, 0.5, side, center, shrinkage)


def power(features: Tensor, mask: Tensor | None, vector: bool, alpha: float = 0.5, side: str = 'auto',
          center: bool = True, shrinkage: float = 0.) -> Tensor:
    """``'power'``: the matrix power ``S^alpha`` (MPN-COV, Li et al., ICCV 2017), see :mod:`mmgcp.ops.spectral`."""
    factor, scale, trace, shift = _unit_trace(features, mask, center, shrinkage)
    pooled = spectral_pool(factor, Power(alpha), _smaller(side, features), shift)
    return _scaled(_as_asked(pooled, vector), trace, scale, alpha)


def log(features: Tensor, mask: Tensor | None, vector: bool, shrinkage: float = 1e-3, side: str = 'auto',
        center: bool = True) -> Tensor:
    """``'log'``: the matrix logarithm (DeepO2P, Ionescu et al., ICCV 2015) of the shrunk covariance.

    For features without variance, it is the logarithm of ``shrinkage I / C``.
    """
    if shrinkage == 0:
        raise ValueError("shrinkage=0 does not suit method='log': a covariance of rank below C has no logarithm")
    factor, scale, trace, shift = _unit_trace(features, mask, center, shrinkage)
    pooled = spectral_pool(factor, Log(), _smaller(side, features), shift)
    size = zero_as_one(trace).log() + 2 * scale.log() * (trace != 0)
    return _as_asked(pooled + size * identity_like(pooled), vector)


def pade(features: Tensor, mask: Tensor | None, vector: bool, degree: int = 5, num_iters: int = 8,
         center: bool = True, shrinkage: float = 0.) -> Tensor:
    """``'pade'``: square root by matrix Pade approximants (Song et al., ICLR 2022), see :mod:`mmgcp.ops.pade`."""
    factor, scale, trace, shift = _unit_trace(features, mask, center, shrinkage)
    return _scaled(_as_asked(pade_pool(factor, shift, degree, num_iters), vector), trace, scale, 0.5)


def elementwise(features: Tensor, mask: Tensor | None, vector: bool, alpha: float = 0.5, center: bool = True) -> Tensor:
    """``'signed_power'``: elementwise ``sign(s) |s|^alpha``, divided by the l2 norm (B-CNN, Lin et al., ICCV 2015)."""
    factor, _ = unit_factor(features, mask, center)
    return _as_asked(unit_norm(signed_power(product(factor, factor.transpose(1, 2)), alpha)), vector)


def gaussian(features: Tensor, mask: Tensor | None, vector: bool, beta: float = 1., side: str = 'auto') -> Tensor:
    """``'gaussian'``: root of the Gaussian embedding, (C + 1) x (C + 1), see :mod:`mmgcp.ops.gaussian`.

    Computed in float64: beside the embedding's 1, squares of features of 1e-4 vanish in the rounding of float32, and
    standard deviations below 2e-7 (256 channels) in that of float64.
    """
    factor = gaussian_factor(features.double(), mask, beta)
    pooled = spectral_pool(factor, Power(0.5), _smaller(side, factor))
    return _as_asked(pooled.to(features.dtype), vector)


def compact_bilinear(features: Tensor, mask: Tensor | None, vector: bool,
                     sketch: tuple[Tensor, Tensor] | None = None, out_channels: int = 8192, alpha: float = 0.5,
                     center: bool = True) -> Tensor:
    """``'compact_bilinear'``: tensor sketch, signed power and l2 norm, see :mod:`mmgcp.ops.tensor_sketch`.

    ``sketch`` is what :func:`mmgcp.ops.draw_sketch` returns; :class:`mmgcp.ops.CovariancePooling` keeps it.
    """
    if sketch is None:
        raise ValueError("method='compact_bilinear' needs a sketch: draw it once by mmgcp.ops.draw_sketch and keep it, "
                         'or use mmgcp.ops.CovariancePooling')
    factor, _ = unit_factor(features, mask, center)
    return unit_norm(signed_power(tensor_sketch(product(factor, factor.transpose(1, 2)), *sketch, out_channels), alpha))


def dropcov(features: Tensor, mask: Tensor | None, vector: bool, gate: tuple[Tensor] | None = None,
            training: bool = False, center: bool = True) -> Tensor:
    """``'dropcov'``: plain covariance; in training, with a gate and channel dropout, see :mod:`mmgcp.ops.dropcov`.

    ``gate`` holds what :func:`mmgcp.ops.draw_gate` returns; :class:`mmgcp.ops.CovariancePooling` trains it.
    """
    if not training:
        return plain(features, mask, vector, center)
    if gate is None:
        raise ValueError("method='dropcov' needs a gate in training: draw it once by mmgcp.ops.draw_gate and train it, "
                         'or use mmgcp.ops.CovariancePooling')
    factor = dropped_factor(features, mask, *gate, center)
    return _as_asked(product(factor, factor.transpose(1, 2)), vector)


METHODS = {
    'covariance': Method(plain),
    'newton_schulz': Method(newton_schulz),
    'polar_express': Method(polar_express, forward_mode=False),
    'eigh': Method(eigh, factorises=True),
    'power': Method(power, factorises=True),
    'log': Method(log, factorises=True),
    'pade': Method(pade, factorises=True, forward_mode=False),
    'signed_power': Method(elementwise),
    'gaussian': Method(gaussian, factorises=True),
    'compact_bilinear': Method(
        compact_bilinear, returns='vector',
        state=State('sketch', ('sketch_hashes', 'sketch_signs'), draw_sketch, settings=('out_channels', ))),
    'dropcov': Method(
        dropcov, random=True, state=State('gate', ('gate', ), lambda channels: (draw_gate(), ), learned=True)),
}


def _is_number(value: object, low: float, high: float, kind: type | tuple = (int, float)) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and low <= value <= high


CHECKS = {
    **dict.fromkeys(('num_iters', 'degree', 'out_channels'),
                    (lambda value: _is_number(value, 1, math.inf, int), 'an integer of at least 1')),
    'alpha': (lambda value: _is_number(value, 0, 1) and value > 0, 'a number above 0, at most 1'),
    'shrinkage': (lambda value: _is_number(value, 0, 1) and value < 1, 'a number from 0 to below 1'),
    'beta': (lambda value: _is_number(value, 0, math.inf), 'a number of at least 0'),
    'center': (lambda value: isinstance(value, bool), 'True or False'),
    'side': (lambda value: value in SIDES, f'one of {", ".join(SIDES)}'),
    'pre_norm': (lambda value: value in PRE_NORMS, f'one of {", ".join(PRE_NORMS)}'),
}


def check_settings(method: str, **options) -> None:
    """Raise a ValueError if the method is unknown or an option is out of range, whether or not the method has it."""
    if method not in METHODS:
        raise ValueError(f"method='{method}' is unknown: choose one of {', '.join(METHODS)}")
    for name, value in options.items():
        if name in CHECKS and not CHECKS[name][0](value):
            raise ValueError(f'{name}={value!r} must be {CHECKS[name][1]}')


def _smaller(side: str, features: Tensor) -> str:
    if side != 'auto':
        return side
    return 'gram' if features.shape[2] < features.shape[1] else 'covariance'


def _as_asked(matrix: Tensor, vector: bool) -> Tensor:
    return triu_vector(matrix) if vector else matrix


def _shrunk(covariance: Tensor, shrinkage: float) -> Tensor:
    if not shrinkage:
        return covariance
    mean = covariance.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
    return (1 - shrinkage) * covariance + shrinkage * mean * identity_like(covariance)


def _unit_trace(features: Tensor, mask: Tensor | None, center: bool, shrinkage: float) -> tuple:
    """Factor ``F`` of ``(1 - gamma) S / (t scale^2)``, ``scale`` (B, 1, 1), ``t`` (B, 1, 1) and ``gamma / C``.

    The shrunk covariance is ``t scale^2 (F F^T + gamma / C I)``. Without shrinkage, ``t`` is None, not divided out.
    """
    factor, scale = unit_factor(features, mask, center)
    if not shrinkage:
        return factor, scale, None, 0.
    trace = factor.square().sum((-2, -1), keepdim=True)
    return factor * ((1 - shrinkage) / zero_as_one(trace)).sqrt(), scale, trace, shrinkage / factor.shape[1]


def _scaled(pooled: Tensor, trace: Tensor | None, scale: Tensor, alpha: float) -> Tensor:
    """Scale the power ``alpha`` of the normalised covariance to that of the covariance: ``t^alpha scale^(2 alpha)``."""
    shape = (-1, *(1, ) * (pooled.dim() - 1))
    if trace is not None:
        pooled = pooled * (zero_as_one(trace)**alpha * (trace != 0)).reshape(shape)
    scale = scale.reshape(shape)
    if alpha <= 0.5:
        return pooled * scale**(2 * alpha)
    return pooled * scale**alpha * scale**alpha  # in two steps: zeros stay zeros where the square overflows
