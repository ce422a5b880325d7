"""Tests of Table 1 and Eqs. 5 to 7 in closed form."""
import pytest
import torch

from mmgcp.ops import covariance_pool, triu_vector
from mmgcp.ops.closed_form_gradients import (
    average_gradient,
    covariance_gradient,
    root_gradient,
    symmetric_gradient,
    trimmed_root_gradient,
)

from .reference import covariance, exact_root, relative_error


def draw(device, pixels, channels, images=3):
    """Features (B, N, D) and a gradient (B, D, D) that is not symmetric."""
    x = torch.randn(images, pixels, channels, dtype=torch.float64, device=device)
    return x, torch.randn(images, channels, channels, dtype=torch.float64, device=device)


def as_maps(x):
    """(B, N, D) to (B, D, N, 1)."""
    return x.mT[..., None]


def autograd_of(function, x, grad):
    x = x.detach().requires_grad_()
    return torch.autograd.grad(function(x), x, grad)[0]


# More pixels than channels; as many; fewer, so that the covariance is singular.
@pytest.mark.parametrize('pixels', [20, 7, 4])
def test_eq_6_equals_autograd_through_the_operator(pixels, device):
    x, grad = draw(device, pixels, 6)
    expected = autograd_of(lambda x: covariance_pool(x, 'eigh'), x, grad)
    assert relative_error(root_gradient(x, grad), expected) < 1e-7  # of two roundings, where S is close to singular


def test_eq_6_equals_autograd_through_the_eigendecomposition(device):
    x, grad = draw(device, 20, 6)
    expected = autograd_of(lambda x: exact_root(as_maps(x)), x, grad)
    assert relative_error(root_gradient(x, grad), expected) < 1e-7  # of two roundings, where S is close to singular


def test_eq_6_on_a_singular_covariance_equals_finite_differences(device):
    x, grad = draw(device, 4, 6, images=1)
    step, direction = 1e-6, torch.randn_like(x)

    def value(x):
        sigma = covariance(as_maps(x))
        eigenvalues, vectors = torch.linalg.eigh(sigma)
        eigenvalues = torch.where(eigenvalues > 1e-12, eigenvalues, 0)
        return ((vectors * eigenvalues.sqrt()[:, None]) @ vectors.mT * grad).sum()

    slope = (value(x + step * direction) - value(x - step * direction)) / (2 * step)
    torch.testing.assert_close((root_gradient(x, grad) * direction).sum(), slope, rtol=1e-6, atol=0)


def test_eq_6_bears_equal_eigenvalues(device):
    # Orthogonal columns of mean zero: the covariance is I / 4 but for 1e-14.
    x = torch.tensor([[1., 1.], [1., -1.], [-1., 1.], [-1., -1.]], dtype=torch.float64, device=device)[None] / 2
    x = x + 1e-14 * torch.randn_like(x)
    grad = torch.tensor([[[1., 2.], [2., 3.]]], dtype=torch.float64, device=device)
    expected = x / 4 @ grad * 2  # sqrt(l) = 1 / 2: 2 J X G / (s_i + s_j)
    assert relative_error(root_gradient(x, grad), expected) < 1e-12


class TestTrimmed:

    @pytest.mark.parametrize('pixels', [20, 4])
    def test_literal_formula(self, pixels, device):
        x, grad = draw(device, pixels, 6)
        sigma = covariance(as_maps(x))
        eigenvalues, vectors = torch.linalg.eigh(sigma)
        inverse_roots = torch.where(eigenvalues > 1e-12, eigenvalues.clamp(min=1e-300)**-0.5, 0)
        roots = torch.diag_embed(eigenvalues.clamp(min=0).sqrt())
        mask = 1 / (eigenvalues[:, None, :] - eigenvalues[:, :, None])
        mask.diagonal(dim1=1, dim2=2).zero_()
        literal = 2 * mask * roots + torch.diag_embed(inverse_roots) / 2  # the first term vanishes
        symmetric = (grad + grad.mT) / 2
        in_basis = 2 * (x - x.mean(1, keepdim=True)) / pixels @ vectors @ literal @ (vectors.mT @ symmetric)
        assert relative_error(trimmed_root_gradient(x, grad), in_basis) < 1e-9

    @pytest.mark.parametrize('pixels', [20, 4])
    def test_equals_eq_6_where_the_gradient_commutes_with_the_covariance(self, pixels, device):
        x, grad = draw(device, pixels, 6)
        _, vectors = torch.linalg.eigh(covariance(as_maps(x)))
        commuting = vectors * grad[:, 0, None] @ vectors.mT
        assert relative_error(trimmed_root_gradient(x, commuting), root_gradient(x, commuting)) < 1e-9

    def test_differs_from_eq_6_elsewhere_by_less_than_itself(self, device):
        x, grad = draw(device, 20, 6)
        trimmed = trimmed_root_gradient(x, grad)
        assert 0.05 < relative_error(root_gradient(x, grad), trimmed) < 1

    @pytest.mark.parametrize('pixels', [20, 7, 4])
    def test_whitens(self, pixels, device):
        x, grad = draw(device, pixels, 6)
        # Singular values of what multiplies the gradient: 1 / sqrt(N), or zero.
        identity = torch.eye(6, dtype=x.dtype, device=device).expand_as(grad)
        singular_values = torch.linalg.svdvals(trimmed_root_gradient(x, identity))
        expected = torch.zeros_like(singular_values)
        expected[:, :min(pixels - 1, 6)] = pixels**-0.5
        torch.testing.assert_close(singular_values, expected, rtol=1e-6, atol=1e-6)


def test_factors_by_eigenvalue(device):
    """2 s_i without the root, 2 s_i / (s_i + s_j) with it, 1 after trimming, of an entry H_ij in the eigenbasis."""
    x, _ = draw(device, 20, 6, images=1)
    eigenvalues, vectors = torch.linalg.eigh(covariance(as_maps(x)))
    roots = eigenvalues.sqrt()[0]
    i, j = 1, 4
    entry = torch.zeros_like(vectors)
    entry[0, i, j] = entry[0, j, i] = 1
    grad = vectors @ entry @ vectors.mT
    for function, factors in [(covariance_gradient, 2 * roots[[i, j]]),
                              (root_gradient, 2 * roots[[i, j]] / (roots[i] + roots[j])),
                              (trimmed_root_gradient, torch.ones_like(roots[:2]))]:
        columns = (function(x, grad) @ vectors)[0, :, [j, i]].norm(dim=0)
        torch.testing.assert_close(columns, factors / 20**0.5, rtol=1e-9, atol=0)


def test_covariance_equals_autograd(device):
    x, grad = draw(device, 20, 6)
    expected = autograd_of(lambda x: covariance_pool(x, 'covariance'), x, grad)
    assert relative_error(covariance_gradient(x, grad), expected) < 1e-12


def test_average_equals_autograd(device):
    x, _ = draw(device, 20, 6)
    grad = torch.randn(3, 6, dtype=torch.float64, device=device)
    torch.testing.assert_close(average_gradient(grad, 20), autograd_of(lambda x: x.mean(1), x, grad))


def test_gradient_of_the_upper_triangle(device):
    vector = torch.tensor([1., 2., 3., 4., 5., 6.], device=device)
    expected = torch.tensor([[1., 1., 1.5], [1., 4., 2.5], [1.5, 2.5, 6.]], device=device)
    torch.testing.assert_close(symmetric_gradient(vector), expected)
    x, _ = draw(device, 20, 3)
    grad = torch.randn(3, 6, dtype=torch.float64, device=device)
    by_vector = autograd_of(lambda x: triu_vector(covariance_pool(x, 'eigh')), x, grad)
    assert relative_error(root_gradient(x, symmetric_gradient(grad)), by_vector) < 1e-12


@pytest.mark.parametrize('gradient', [root_gradient, trimmed_root_gradient])
def test_features_without_variance_have_no_gradient(gradient, device):
    x = torch.ones(2, 5, 3, dtype=torch.float64, device=device)
    assert torch.equal(gradient(x, torch.ones(2, 3, 3, dtype=torch.float64, device=device)), torch.zeros_like(x))
