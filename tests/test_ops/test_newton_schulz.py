import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from mmgcp.ops import covariance_pool, triu_vector

from .reference import exact_root, isqrt_cov, relative_error, value_and_gradient
from .test_pooling import SHAPES, features


@pytest.mark.parametrize('num_iters', [1, 2, 3, 4, 5, 6, 8])
@pytest.mark.parametrize('side', ['gram', 'covariance', 'auto'])
@pytest.mark.parametrize('shape', [*SHAPES, (70, 7, 10)])
def test_equals_the_published_iteration(shape, side, num_iters, device):
    x = features(2, *shape, device=device, grad=True)
    weight = torch.randn(2, shape[0] * (shape[0] + 1) // 2, dtype=torch.float64, device=device)
    out, grad = value_and_gradient(lambda x: covariance_pool(x, num_iters=num_iters, side=side, vector=True), x, weight)
    expected, expected_grad = value_and_gradient(lambda x: triu_vector(isqrt_cov(x, num_iters)), x, weight)
    torch.testing.assert_close(out, expected, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize('scale', [1e-4, 1., 1e4])
@pytest.mark.parametrize('shape', [(256, 7, 7), (128, 7, 7), (256, 14, 14), (128, 14, 14), (64, 10, 10), (32, 28, 28)])
def test_float32_at_real_sizes_and_scales(shape, scale, device):
    x = (features(4, *shape, device=device) * scale).float().requires_grad_()
    weight = torch.randn(4, shape[0], shape[0], device=device)
    out, grad = value_and_gradient(covariance_pool, x, weight)
    expected, expected_grad = value_and_gradient(isqrt_cov, x.detach().double().requires_grad_(), weight.double())
    assert relative_error(out, expected) < 3e-6
    assert relative_error(grad, expected_grad) < 5e-6


def test_converges_to_the_exact_root(device):
    x = features(2, 4, 5, 5, device=device)
    assert relative_error(covariance_pool(x, num_iters=30), exact_root(x)) < 1e-10
    # The published 5 steps do not, for a spectrum as wide as that of real features: that belongs to the method.
    wide = features(2, 64, 14, 14, device=device)
    assert relative_error(covariance_pool(wide), exact_root(wide)) > 0.05


@pytest.mark.parametrize('num_iters', range(1, 7))
@pytest.mark.parametrize('side', ['gram', 'covariance'])
@pytest.mark.parametrize('shape', SHAPES)
def test_derivatives_for_any_number_of_steps(shape, side, num_iters, device):
    x = features(1, *shape, device=device, grad=True)
    assert gradcheck(lambda x: covariance_pool(x, num_iters=num_iters, side=side), x)
    assert gradgradcheck(lambda x: covariance_pool(x, num_iters=num_iters, side=side), x, fast_mode=True)


@pytest.mark.parametrize('side', ['gram', 'covariance'])
@pytest.mark.parametrize('channels', [80, 8])
def test_what_is_kept_and_what_is_computed_again_give_one_gradient(channels, side, device):
    # Matrices above 64 x 64 are kept, others not; all is computed again where the gradient is to be differentiated.
    x = features(2, channels, 9, 9, device=device, grad=True)
    out = covariance_pool(x, side=side)
    weight = torch.randn_like(out)
    torch.testing.assert_close(torch.autograd.grad(out, x, weight, retain_graph=True),
                               torch.autograd.grad(out, x, weight, create_graph=True))


@pytest.mark.parametrize('side', ['gram', 'covariance'])
def test_without_pre_normalisation(side, device):
    x = features(2, 7, 3, 3, device=device, grad=True)
    scaled = (x / 3).detach().requires_grad_()
    assert torch.linalg.eigvalsh(covariance_pool(scaled, 'covariance')).max() < 2
    out = covariance_pool(scaled, num_iters=40, side=side, pre_norm='none')
    assert relative_error(out, exact_root(scaled)) < 1e-9
    assert gradcheck(lambda x: covariance_pool(x, num_iters=2, side=side, pre_norm='none'), scaled)
    assert gradgradcheck(lambda x: covariance_pool(x, num_iters=2, side=side, pre_norm='none'), scaled[:1, :3])


@pytest.mark.parametrize('shape, side, kept', [
    ((128, 7, 7), 'gram', {(49, 49): 1}),
    ((256, 7, 7), 'gram', {(49, 49): 9}),
    ((90, 9, 9), 'gram', {(81, 81): 9}),
    ((90, 10, 10), 'covariance', {(90, 90): 7}),
    ((20, 10, 10), 'covariance', {(20, 20): 1}),
])
def test_what_is_kept_for_backward(shape, side, kept, device):
    x = features(2, *shape, device=device, grad=True)
    held = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: held.append(t) or t, lambda t: t):
        covariance_pool(x, side=side, vector=True)
    pointers = {t.untyped_storage().data_ptr(): t for t in held}
    pointers.pop(x.untyped_storage().data_ptr())
    matrices = [tuple(t.shape[1:]) for t in pointers.values() if t.shape[1:] != (1, 1)]
    assert {shape: matrices.count(shape) for shape in matrices} == kept


class SquareProducts(TorchDispatchMode):
    """Counts the batched products of matrices of one square size."""

    def __init__(self, size):
        super().__init__()
        self.size, self.count = size, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket in (torch.ops.aten.bmm, torch.ops.aten.baddbmm):
            self.count += all(factor.shape[1:] == (self.size, self.size) for factor in args[-2:])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('shape, side, size, forward, backward', [
    ((256, 7, 7), 'gram', 49, 10, 13),  # all is kept
    ((128, 7, 7), 'gram', 49, 10, 10 + 13),  # nothing is
    ((90, 10, 10), 'covariance', 90, 10, 3 + 13),  # the iterates are
    ((20, 10, 10), 'covariance', 20, 10, 10 + 13),
])
def test_products_of_five_steps(shape, side, size, forward, backward, device):
    x = features(2, *shape, device=device, grad=True)
    with SquareProducts(size) as products:
        out = covariance_pool(x, side=side)
        assert products.count == forward
        torch.autograd.grad(out.sum(), x)
    assert products.count == forward + backward
