import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from mmgcp.ops.covariance import covariance_factor
from mmgcp.ops.pade import pade_pool

from .reference import relative_error, value_and_gradient

SHAPES = [(7, 4), (5, 5), (4, 8)]


def factor(*shape, device, dtype=torch.float64, grad=False):
    x = covariance_factor(torch.randn(*shape, dtype=torch.float64))
    return x.to(device, dtype).requires_grad_(grad)


def shifted(x, shift):
    return x @ x.mT + shift * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)


def exact_root(matrix):
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()[:, None]) @ vectors.mT


@pytest.mark.parametrize('shape', SHAPES)
def test_value_approaches_the_exact_root(shape, device):
    x = factor(3, *shape, device=device)
    expected = exact_root(shifted(x, 1.))
    errors = [relative_error(pade_pool(x, 1., degree), expected) for degree in (1, 3, 5, 10, 16)]
    assert errors == sorted(errors, reverse=True)
    assert errors[2] < 1e-3 and errors[-1] < 1e-8


@pytest.mark.parametrize('degree', [1, 2, 5, 8])
def test_value_is_the_pade_approximant(degree, device):
    # Partial fractions of the approximant of sqrt(1 + z): 1 + sum_j a_j z / (1 + b_j z).
    x = factor(2, 5, 4, device=device)
    matrix = shifted(x, 0.01)
    values, vectors = torch.linalg.eigh(matrix)
    norm = matrix.square().sum((1, 2)).sqrt()[:, None]
    z = values / norm - 1
    angles = torch.arange(1, degree + 1, dtype=torch.float64, device=device) * torch.pi / (2 * degree + 1)
    a, b = angles.sin()**2 * 2 / (2 * degree + 1), angles.cos()**2
    roots = (1 + (a * z[..., None] / (1 + b * z[..., None])).sum(-1)) * norm.sqrt()
    expected = (vectors * roots[:, None]) @ vectors.mT
    torch.testing.assert_close(pade_pool(x, 0.01, degree), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize('shape', SHAPES)
def test_gradient_solves_the_lyapunov_equation_of_the_root(shape, device):
    x = factor(3, *shape, device=device, grad=True)
    weight = torch.randn(3, shape[0], shape[0], dtype=torch.float64, device=device)
    _, grad = value_and_gradient(lambda x: pade_pool(x, 0.5, degree=20, num_iters=14), x, weight)
    values, vectors = torch.linalg.eigh(shifted(x.detach(), 0.5))
    rotated = vectors.mT @ ((weight + weight.mT) / 2) @ vectors
    solution = vectors @ (rotated / (values.sqrt()[:, None] + values.sqrt()[..., None])) @ vectors.mT
    torch.testing.assert_close(grad, 2 * solution @ x, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize('shape', [(4, 3), (3, 3), (3, 5)])
def test_first_and_second_derivatives(shape, device):
    x = factor(1, *shape, device=device, grad=True)
    assert gradcheck(lambda x: pade_pool(x, 1., degree=16, num_iters=14), x)
    assert gradgradcheck(lambda x: pade_pool(x, 1., degree=16, num_iters=14), x)


def test_derivatives_with_equal_eigenvalues(device):
    x = torch.tensor([[[1., -1., 0., 0.], [0., 0., 1., -1.]]], dtype=torch.float64, device=device) / 2
    x.requires_grad_()
    assert gradcheck(lambda x: pade_pool(x, degree=16, num_iters=12), x)
    assert gradgradcheck(lambda x: pade_pool(x, degree=16, num_iters=12), x)


def test_an_image_without_variance_gives_zero_and_zero_gradient(device):
    x = factor(3, 6, 4, device=device).clone()
    x[1] = 0
    x.requires_grad_()
    out = pade_pool(x)
    grad, = torch.autograd.grad(out.square().sum() + out.sum(), x, create_graph=True)
    second, = torch.autograd.grad(grad.square().sum() + grad.sum(), x)
    assert not out[1].any() and not grad[1].any()
    assert out.isfinite().all() and grad.isfinite().all() and second.isfinite().all()
    torch.testing.assert_close(out[[0, 2]], pade_pool(x[[0, 2]]))


def test_vmap_equals_the_batch(device):
    x = factor(3, 4, 5, device=device, grad=True)
    single = torch.func.vmap(lambda x: pade_pool(x[None], 0.1)[0])
    weight = torch.randn(3, 4, 4, dtype=torch.float64, device=device)
    torch.testing.assert_close(value_and_gradient(single, x, weight),
                               value_and_gradient(lambda x: pade_pool(x, 0.1), x, weight))


@pytest.mark.parametrize('shift', [0., 1e-3])
def test_float32_at_real_sizes(shift, device):
    x = factor(4, 64, 49, device=device, dtype=torch.float32, grad=True)
    weight = torch.randn(4, 64, 64, device=device)
    out, grad = value_and_gradient(lambda x: pade_pool(x, shift), x, weight)
    expected, expected_grad = value_and_gradient(
        lambda x: pade_pool(x, shift), x.detach().double().requires_grad_(), weight.double())
    assert relative_error(out, expected) < 1e-5
    assert relative_error(grad, expected_grad) < 1e-5


@pytest.mark.parametrize('dtype, most', [(torch.float32, 13), (torch.float64, 28)])
def test_degrees_that_rounding_allows(dtype, most, device):
    x = factor(2, 12, 9, device=device, dtype=dtype)
    assert pade_pool(x, degree=most).isfinite().all()
    with pytest.raises(ValueError, match=f'degree={most + 1} is too high'):
        pade_pool(x, degree=most + 1)
