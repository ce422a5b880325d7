import numpy as np
import pytest
import torch

from mmgcp.ops import covariance_pool
from mmgcp.ops.polar_express import FLOAT32, FLOAT64

from .reference import exact_root, relative_error, value_and_gradient
from .test_pooling import features

# Smallest eigenvalue of the first interval, and the error of the root of it and all larger ones.
STATED = [(FLOAT32, 2.**-19, 8e-14), (FLOAT64, 2.**-41, 3e-16)]


def composed(squares, quartics):
    """``x`` after all steps, for eigenvalues ``x^2`` of ``A``."""
    x = np.sqrt(squares)
    for a, b, c, d, e in quartics:
        r = x**2
        x = x * (a + b * r + c * (r**2 + d * r + e)**2)
    return x


@pytest.mark.parametrize('steps, smallest, error', STATED)
def test_worst_error_of_the_composed_polynomials(steps, smallest, error):
    x = composed(np.geomspace(smallest, 1, 200_001, dtype=np.longdouble), steps)
    assert abs(x - 1).max() < error
    below = composed(np.geomspace(1e-30, smallest, 1000, dtype=np.longdouble), steps)
    assert (np.diff(below) > 0).all() and 0 < below[0] and below[-1] < 1 + error


@pytest.mark.parametrize('steps, smallest, error', STATED)
def test_each_step_is_the_best_approximation(steps, smallest, error):
    """Chebyshev: the best odd polynomial with 5 coefficients is the one whose error takes its extremes 6 times."""
    low = smallest**0.5
    for a, b, c, d, e in steps[:-2]:  # of the last ones, the error is rounding
        x = np.geomspace(low, 1, 400_001)
        value = x * (a + b * x**2 + c * (x**4 + d * x**2 + e)**2)
        middle, error = (value.max() + value.min()) / 2, (value.max() - value.min()) / 2
        extremes = np.flatnonzero(np.diff(np.sign(np.diff(value)))) + 1
        heights = (value[[0, *extremes, -1]] - middle) / error
        np.testing.assert_allclose(heights, [-1, 1] * 3, atol=1e-6)
        assert value.max() == pytest.approx(1 - error / middle / 100, rel=1e-6)
        low = value.min()


@pytest.mark.parametrize('shape', [(256, 7, 7), (64, 7, 7), (64, 10, 10), (32, 28, 28)])
def test_float32_at_real_sizes(shape, device):
    x = features(4, *shape, device=device, dtype=torch.float32, grad=True)
    weight = torch.randn(4, shape[0], shape[0], device=device)
    out, grad = value_and_gradient(lambda x: covariance_pool(x, 'polar_express'), x, weight)
    exact, exact_grad = value_and_gradient(
        lambda x: covariance_pool(x, 'eigh'), x.detach().double().requires_grad_(), weight.double())
    assert relative_error(out, exact) < 1e-5
    assert relative_error(grad, exact_grad) < 1e-4


@pytest.mark.parametrize('shape, dtype, tolerance', [
    ((16, 5, 5), torch.float32, 2e-3), ((16, 5, 5), torch.float64, 2e-6),
    ((16, 3, 3), torch.float32, 2e-2), ((16, 3, 3), torch.float64, 2e-4),
])
def test_dead_channels_and_equal_pixels(shape, dtype, tolerance, device):
    x = features(3, *shape, device=device)
    x[:, :4] = 0
    x[:, 5] = x[:, 6]
    x[..., 0, :] = x[..., 1, :]
    x = x.to(dtype).requires_grad_()
    weight = torch.randn(3, shape[0], shape[0], device=device)
    out, grad = value_and_gradient(lambda x: covariance_pool(x, 'polar_express'), x, weight)
    exact, exact_grad = value_and_gradient(
        lambda x: covariance_pool(x, 'eigh'), x.detach().double().requires_grad_(), weight.double())
    assert relative_error(out, exact) < tolerance / 10 and relative_error(grad, exact_grad) < tolerance


def test_wide_spectrum(device):
    """Eigenvalues down to the smallest of the interval and, in half of the images, below."""
    channels, pixels = 24, 96
    basis = torch.linalg.qr(torch.randn(2, channels, channels, dtype=torch.float64))[0]
    white = torch.linalg.qr(torch.cat([torch.ones(2, pixels, 1), torch.randn(2, pixels, channels)], 2).double())[0]
    spectra = torch.stack([torch.logspace(0, -12, channels), torch.logspace(0, -16, channels)]).double()
    x = (basis * spectra[:, None].sqrt()) @ white[..., 1:].mT
    out = covariance_pool(x.mT.to(device), 'polar_express')  # tokens
    exact = covariance_pool(x.mT.to(device), 'eigh')
    assert relative_error(out[:1], exact[:1]) < 1e-8 and relative_error(out[1:], exact[1:]) < 1e-6


def test_exact_root_in_float64(device):
    x = features(2, 6, 5, 5, device=device)
    assert relative_error(covariance_pool(x, 'polar_express'), exact_root(x)) < 1e-12
