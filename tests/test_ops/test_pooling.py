import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from mmgcp.ops import METHODS, covariance_pool

from .reference import covariance, exact_root, isqrt_cov, relative_error, value_and_gradient

# (C, H, W): more channels than pixels, as many, fewer
SHAPES = [(12, 2, 3), (9, 3, 3), (5, 4, 3)]
REFERENCES = {'newton_schulz': isqrt_cov, 'eigh': exact_root}


def features(*shape, device, dtype=torch.float64, grad=False):
    """Like the output of a ReLU: not negative, some zeros, channels of different strength and correlated."""
    x = torch.randn(*shape, dtype=torch.float64)
    mixing = torch.randn(shape[1], shape[1], dtype=torch.float64) / shape[1]**0.5
    x = torch.einsum('dc,bchw->bdhw', mixing + torch.eye(shape[1], dtype=torch.float64), x).relu()
    return x.to(device, dtype).requires_grad_(grad)


@pytest.mark.parametrize('num_iters', [1, 2, 3, 5, 8])
@pytest.mark.parametrize('side', ['gram', 'covariance', 'auto'])
@pytest.mark.parametrize('shape', SHAPES)
def test_newton_schulz_equals_the_published_iteration(shape, side, num_iters, device):
    x = features(3, *shape, device=device, grad=True)
    weight = torch.randn(3, shape[0], shape[0], dtype=torch.float64, device=device)
    out, grad = value_and_gradient(lambda x: covariance_pool(x, num_iters=num_iters, side=side), x, weight)
    expected, expected_grad = value_and_gradient(lambda x: isqrt_cov(x, num_iters), x, weight)
    torch.testing.assert_close(out, expected, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize('shape', [(256, 7, 7), (128, 7, 7), (256, 14, 14), (64, 10, 10)])
def test_newton_schulz_in_float32_at_real_sizes(shape, device):
    x = features(4, *shape, device=device, dtype=torch.float32, grad=True)
    weight = torch.randn(4, shape[0], shape[0], device=device)
    out, grad = value_and_gradient(covariance_pool, x, weight)
    expected, expected_grad = value_and_gradient(isqrt_cov, x.detach().double().requires_grad_(), weight.double())
    assert relative_error(out, expected) < 2e-6
    assert relative_error(grad, expected_grad) < 5e-6


def test_newton_schulz_converges_to_the_exact_root(device):
    x = features(2, 4, 5, 5, device=device)
    assert relative_error(covariance_pool(x, num_iters=30), exact_root(x)) < 1e-10
    # The published 5 steps do not, for a spectrum as wide as that of real features: that belongs to the method.
    wide = features(2, 64, 14, 14, device=device)
    assert relative_error(covariance_pool(wide), exact_root(wide)) > 0.05


@pytest.mark.parametrize('side', ['gram', 'covariance'])
@pytest.mark.parametrize('shape', SHAPES)
def test_eigh_is_the_square_root_of_the_covariance(shape, side, device):
    x = features(3, *shape, device=device)
    out = covariance_pool(x, method='eigh', side=side)
    torch.testing.assert_close(out @ out, covariance(x), rtol=1e-9, atol=1e-10)
    assert torch.linalg.eigvalsh(out).min() > -1e-7


def test_eigh_gradient_equals_autograd_where_eigenvalues_are_distinct(device):
    x = features(3, 5, 4, 4, device=device, grad=True)
    weight = torch.randn(3, 5, 5, dtype=torch.float64, device=device)
    weight = weight + weight.mT
    _, grad = value_and_gradient(lambda x: covariance_pool(x, method='eigh'), x, weight)
    _, expected = value_and_gradient(exact_root, x, weight)
    torch.testing.assert_close(grad, expected, rtol=1e-8, atol=1e-9)


def test_eigh_gradient_with_equal_eigenvalues(device):
    # Four pixels at the corners of a square: the covariance is I / 2, its eigenvalues equal.
    x = torch.tensor([[[1., -1., 0., 0.], [0., 0., 1., -1.]]], dtype=torch.float64, device=device)
    x = x.reshape(1, 2, 2, 2).requires_grad_()
    assert gradcheck(lambda x: covariance_pool(x, method='eigh', side='covariance'), x)
    assert gradgradcheck(lambda x: covariance_pool(x, method='eigh', side='covariance'), x)


@pytest.mark.parametrize('side', ['gram', 'covariance'])
def test_eigh_gradient_with_zero_eigenvalues(side, device):
    # Rank 2 in 5 channels, kept along the direction of the derivative: the root is differentiable along it.
    mixing = torch.randn(5, 2, dtype=torch.float64, device=device)
    source = torch.randn(1, 2, 12, dtype=torch.float64, device=device)
    weight = torch.randn(1, 5, 5, dtype=torch.float64, device=device)
    change = torch.randn_like(mixing)

    def loss(step, source_step=0.):
        x = ((mixing + step * change) @ (source + source_step)).reshape(1, 5, 3, 4)
        return (covariance_pool(x, method='eigh', side=side) * weight).sum()

    step = torch.zeros((), dtype=torch.float64, device=device, requires_grad=True)
    derivative, = torch.autograd.grad(loss(step), step)
    numeric = (loss(torch.tensor(1e-5)) - loss(torch.tensor(-1e-5))) / 2e-5
    assert derivative.item() == pytest.approx(numeric.item(), rel=1e-6)


@pytest.mark.parametrize('method', METHODS)
def test_both_sides_have_the_same_gradient_at_any_rank(method, device):
    for shape in [(12, 2, 3), (6, 3, 3), (7, 2, 4)]:
        x = features(2, *shape, device=device, grad=True)
        weight = torch.randn(2, shape[0], shape[0], dtype=torch.float64, device=device)
        gram = value_and_gradient(lambda x: covariance_pool(x, method, side='gram'), x, weight)
        direct = value_and_gradient(lambda x: covariance_pool(x, method, side='covariance'), x, weight)
        torch.testing.assert_close(gram, direct, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize('side', ['gram', 'covariance'])
@pytest.mark.parametrize('shape', SHAPES)
def test_newton_schulz_derivatives(shape, side, device):
    x = features(2, *shape, device=device, grad=True)
    assert gradcheck(lambda x: covariance_pool(x, num_iters=3, side=side), x)
    assert gradgradcheck(lambda x: covariance_pool(x, num_iters=3, side=side), x)


def test_eigh_derivatives_at_full_rank(device):
    x = features(2, 3, 3, 4, device=device, grad=True)
    assert gradcheck(lambda x: covariance_pool(x, method='eigh'), x)
    assert gradgradcheck(lambda x: covariance_pool(x, method='eigh'), x)


@pytest.mark.parametrize('side', ['gram', 'covariance'])
@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('x', [torch.zeros(2, 6, 3, 3), torch.full((2, 6, 3, 3), 7.), torch.rand(2, 6, 1, 1)],
                         ids=['zero', 'constant', 'one pixel'])
def test_no_variance_gives_zero_and_zero_gradient(x, method, side, device):
    x = x.to(device, torch.float64).requires_grad_()
    out = covariance_pool(x, method, side=side)
    out.sum().backward()
    assert not out.any() and not x.grad.any()


def test_one_dead_image_leaves_the_others_alone(device):
    x = features(3, 8, 3, 3, device=device).clone()
    x[1] = 0
    out = covariance_pool(x)
    assert not out[1].any()
    torch.testing.assert_close(out[[0, 2]], isqrt_cov(x[[0, 2]]))


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_input_is_computed_in_float32(method, dtype, device):
    for scale in (1e-2, 1., 1e2):
        x = (features(2, 16, 4, 4, device=device) * scale).to(dtype)
        out = covariance_pool(x, method)
        assert out.dtype == dtype
        torch.testing.assert_close(out, covariance_pool(x.float(), method).to(dtype))


@pytest.mark.parametrize('method', METHODS)
def test_autocast_computes_and_returns_float32(method, device):
    x = features(2, 6, 4, 4, device=device, dtype=torch.float32, grad=True)
    weight = torch.randn(2, 6, 6, device=device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        out = covariance_pool(x, method)
        assert covariance_pool(x.bfloat16(), method).dtype == out.dtype == torch.float32
    grad, = torch.autograd.grad(out, x, weight)
    expected, expected_grad = value_and_gradient(lambda x: covariance_pool(x, method), x, weight)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(grad, expected_grad)


@pytest.mark.parametrize('method', METHODS)
def test_memory_format_and_strides_do_not_matter(method, device):
    x = features(2, 6, 5, 4, device=device)
    expected = covariance_pool(x, method)
    torch.testing.assert_close(covariance_pool(x.to(memory_format=torch.channels_last), method), expected)
    torch.testing.assert_close(covariance_pool(x.mT.contiguous().mT, method), expected)
    assert not x[:, ::2].is_contiguous()
    torch.testing.assert_close(covariance_pool(x[:, ::2], method), REFERENCES[method](x[:, ::2]), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize('method', METHODS)
def test_images_do_not_mix(method, device):
    x = features(3, 6, 3, 3, device=device)
    each = torch.cat([covariance_pool(image[None], method) for image in x])
    torch.testing.assert_close(covariance_pool(x, method), each)
    assert covariance_pool(x[:0], method).shape == (0, 6, 6)


@pytest.mark.parametrize('side, size', [('gram', 9), ('covariance', 16)])
def test_only_matrices_of_the_small_side_are_kept_for_backward(side, size, device):
    x = features(2, 16, 3, 3, device=device, grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        covariance_pool(x, side=side)
    beyond_input = [tuple(t.shape) for t in kept if t.untyped_storage().data_ptr() != x.untyped_storage().data_ptr()]
    assert set(beyond_input) == {(2, size, size)} and len(beyond_input) <= 10


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_non_finite_features_are_not_hidden(value, device):
    x = features(1, 4, 3, 3, device=device).clone()
    x[0, 0, 0, 0] = value
    assert not covariance_pool(x).isfinite().all()


@pytest.mark.parametrize('arguments, message', [
    (dict(method='sqrtm'), "method='sqrtm' is unknown: choose one of newton_schulz"),
    (dict(side='left'), "side='left' is unknown"),
    (dict(num_iters=0), 'num_iters=0 must be an integer of at least 1'),
    (dict(num_iters=2.5), 'num_iters=2.5 must be an integer'),
])
def test_unknown_settings(arguments, message):
    with pytest.raises(ValueError, match=message):
        covariance_pool(torch.rand(1, 2, 3, 3), **arguments)


@pytest.mark.parametrize('x, error, message', [
    (torch.rand(2, 3, 4), ValueError, r'\(B, C, H, W\), got \(2, 3, 4\)'),
    (torch.ones(1, 2, 3, 3, dtype=torch.long), TypeError, 'real floating-point features, got torch.int64'),
    (torch.ones(1, 2, 3, 3, dtype=torch.complex64), TypeError, 'real floating-point features, got torch.complex64'),
    (torch.rand(2, 3, 0, 4), ValueError, 'at least one channel and one pixel'),
])
def test_wrong_input(x, error, message):
    with pytest.raises(error, match=message):
        covariance_pool(x)
