"""LAPACK and cuSOLVER fail for some matrices."""
import warnings
from types import SimpleNamespace

import pytest
import torch

from mmgcp.ops import covariance_diagnostics, covariance_pool, cross_covariance_pool, solvers

from .reference import value_and_gradient
from .test_pooling import features

CALLS = {
    'eigh': lambda x: covariance_pool(x, 'power', alpha=0.4),
    'cholesky': lambda x: covariance_pool(x, 'pade'),
    'svd': lambda x: cross_covariance_pool(x, heads=1),
    'eigvalsh': lambda x: covariance_diagnostics(x)['effective_rank'],
}


@pytest.fixture(params=CALLS)
def solver(request):
    return request.param


@pytest.fixture
def failing(monkeypatch, solver):
    """Make the solver fail for the second image in float32, or in any dtype; returns how to."""

    def fail(also_in_float64):
        works, calls = getattr(torch.linalg, solver), []

        def function(matrices):
            calls.append(matrices)
            second = len(matrices) == 3 if matrices.dim() == 3 else matrices.equal(calls[1][1])
            if second and (also_in_float64 or matrices.dtype == torch.float32):
                raise torch.linalg.LinAlgError(f'linalg.{solver}: (Batch element 1): failed to converge')
            return works(matrices)

        function.__name__ = f'linalg_{solver}'
        monkeypatch.setattr(torch.linalg, solver, function)

    return fail


def test_a_failure_is_mended_in_float64(failing, solver, device):
    x = features(3, 6, 4, 4, device=device, dtype=torch.float32, grad=True)
    weight = torch.randn_like(CALLS[solver](x))
    differentiable = weight.dim() > 1
    expected = value_and_gradient(CALLS[solver], x, weight) if differentiable else CALLS[solver](x)
    failing(also_in_float64=False)
    with pytest.warns(UserWarning, match=rf'linalg_{solver} failed \(linalg.{solver}: \(Batch element 1\): failed to '
                      r'converge\): the batch was decomposed in float64 on the CPU'):
        actual = value_and_gradient(CALLS[solver], x, weight) if differentiable else CALLS[solver](x)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_a_failure_in_float64_too_names_the_images(failing, solver, device):
    failing(also_in_float64=True)
    with pytest.raises(torch.linalg.LinAlgError, match=rf'linalg_{solver} fails for 1 of 3 matrices, one or more per '
                       r"image, in float64, too: 1, counted from 0 \(.*failed to converge\)\. .* 'polar_express'"):
        CALLS[solver](features(3, 6, 4, 4, device=device, dtype=torch.float32))


@pytest.mark.parametrize('size, version, warned', [(49, (2, 11), True), (32, (2, 11), False), (49, (2, 12), False)])
def test_a_loop_over_images_on_cuda_is_told(size, version, warned, monkeypatch):
    monkeypatch.setattr(solvers, 'VERSION', version)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        solvers.warn_of_a_loop(SimpleNamespace(is_cuda=True, shape=(8, size, size)))
        solvers.warn_of_a_loop(torch.zeros(8, size, size))
    assert ['polar_express' in str(warning.message) for warning in caught] == [True] * warned
