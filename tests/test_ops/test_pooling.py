"""All methods behind one entry."""
import math

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import gradcheck, gradgradcheck

from mmgcp.ops import METHODS, CovariancePooling, covariance_pool, draw_sketch
from mmgcp.ops.compat import COMPILES_FUNCTIONS

from . import reference
from .reference import relative_error, value_and_gradient

# (C, H, W): more channels than pixels, as many, fewer
SHAPES = [(12, 2, 3), (9, 3, 3), (5, 4, 3)]
SKETCH_SIZE = 16
SIDED = [name for name, method in METHODS.items() if method.sided]
# Settings with which a method is differentiable at features of any rank, and its gradient that of its value.
SMOOTH = {'pade': dict(degree=10, num_iters=12, shrinkage=0.3), 'newton_schulz': dict(num_iters=3)}


def features(*shape, device, dtype=torch.float64, grad=False):
    """Like the output of a ReLU: not negative, some zeros, channels of different strength and correlated."""
    x = torch.randn(*shape, dtype=torch.float64)
    mixing = torch.randn(shape[1], shape[1], dtype=torch.float64) / shape[1]**0.5
    x = torch.einsum('dc,bchw->bdhw', mixing + torch.eye(shape[1], dtype=torch.float64), x).relu()
    return x.to(device, dtype).requires_grad_(grad)


SKETCHES = [draw_sketch(channels, SKETCH_SIZE, torch.Generator().manual_seed(1)) for channels in range(20)]


def pool(method, **settings):
    """One argument left: the features."""

    def function(x, **more):
        options = {**settings, **more}
        if method == 'compact_bilinear':
            channels = x.shape[1] if x.dim() == 4 else x.shape[2]
            sketch = [part.to(x.device) for part in SKETCHES[channels]]
            return covariance_pool(x, method, sketch=sketch, out_channels=SKETCH_SIZE, **options)
        return covariance_pool(x, method, **options)

    return function


REFERENCES = {
    'covariance': reference.covariance,
    'newton_schulz': reference.isqrt_cov,
    'polar_express': reference.exact_root,
    'eigh': reference.exact_root,
    'power': lambda x: reference.matrix_power(x, 0.3),
    'log': reference.matrix_log,
    'pade': reference.pade_root,
    'signed_power': reference.signed_power,
    'gaussian': reference.gaussian_root,
    'compact_bilinear': lambda x: reference.compact_bilinear(x, *SKETCHES[x.shape[1]], SKETCH_SIZE),
    'dropcov': reference.covariance,
}


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('method', METHODS)
def test_value_equals_the_textbook(method, shape, device):
    x = features(3, *shape, device=device)
    settings = dict(alpha=0.3) if method == 'power' else {}
    torch.testing.assert_close(pool(method, **settings)(x), REFERENCES[method](x), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize('beta', [0., 0.3])
def test_weight_of_the_mean_in_the_gaussian_embedding(beta, device):
    x = features(2, 5, 4, 3, device=device)
    torch.testing.assert_close(pool('gaussian', beta=beta)(x), reference.gaussian_root(x, beta), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize('method', sorted(set(METHODS) - {'pade'}))  # its gradient is that of the exact root
def test_gradient_equals_that_of_the_textbook(method, device):
    x = features(3, 5, 4, 4, device=device, grad=True)
    settings, expected = dict(alpha=0.3) if method == 'power' else {}, REFERENCES[method](x)
    if method == 'compact_bilinear':  # of the FFT's rounding in empty bins, the square root has a large derivative
        settings, expected = dict(alpha=1), reference.compact_bilinear(x, *SKETCHES[5], SKETCH_SIZE, alpha=1)
    weight = torch.randn_like(expected)
    if expected.dim() == 3:
        weight = weight + weight.mT
    grad = value_and_gradient(pool(method, **settings), x, weight)[1]
    torch.testing.assert_close(grad, torch.autograd.grad(expected, x, weight)[0], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('method', METHODS)
def test_derivatives(method, shape, device):
    x = features(1, *shape, device=device, grad=True)
    function = pool(method, **SMOOTH.get(method, {}), vector=True)
    if x.shape[1] > 5 and method == 'pade':
        x = x.detach()[:, :6].requires_grad_()
    assert gradcheck(function, x, atol=1e-5)
    if method != 'signed_power' or x.shape[1] < 12:  # the second ones along random directions: there are thousands
        assert gradgradcheck(function, x, atol=1e-4, rtol=2e-3, fast_mode=True, nondet_tol=1e-12)


@pytest.mark.parametrize('method', METHODS)
def test_vector_is_the_upper_triangle(method, device):
    x = features(2, 5, 3, 3, device=device)
    if METHODS[method].returns == 'vector':
        torch.testing.assert_close(pool(method)(x, vector=True), pool(method)(x))
        return
    matrix, vector = pool(method)(x), pool(method)(x, vector=True)
    dim = matrix.shape[1]
    torch.testing.assert_close(matrix, matrix.mT)
    expected = torch.stack([matrix[:, i, j] for i in range(dim) for j in range(i, dim)], 1)
    torch.testing.assert_close(vector, expected)
    isometric = pool(method)(x, vector=True, scale_off_diagonal=True)
    torch.testing.assert_close(isometric @ isometric.mT, torch.einsum('aij,bij->ab', matrix, matrix))


@pytest.mark.parametrize('vector', [False, True])
@pytest.mark.parametrize('method', sorted(set(METHODS) - {'pade'}))
def test_gradient_of_matrix_and_vector_is_numerical(method, vector, device):
    x = features(1, 4, 3, 2, device=device, grad=True)
    assert gradcheck(pool(method, vector=vector), x, atol=1e-5)


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('method', SIDED)
def test_both_sides_are_equal(method, shape, device):
    x = features(2, *shape, device=device, grad=True)
    weight = torch.randn_like(pool(method)(x))
    gram = value_and_gradient(pool(method, side='gram'), x, weight)
    direct = value_and_gradient(pool(method, side='covariance'), x, weight)
    torch.testing.assert_close(gram, direct, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize('method', METHODS)
def test_tokens_are_pixels(method, device):
    x = features(2, 5, 4, 3, device=device)
    torch.testing.assert_close(pool(method)(x.flatten(2).mT), pool(method)(x))


@pytest.mark.parametrize('method', METHODS)
def test_mask_equals_cropping(method, device):
    x = features(3, 5, 4, 3, device=device)
    mask = torch.rand(3, 4, 3, device=device) < 0.6
    mask[0] = True
    dirty = x.masked_fill(~mask[:, None], float('nan')).requires_grad_()
    out = pool(method)(dirty, mask=mask)
    weight = torch.randn_like(out)
    grad, = torch.autograd.grad(out, dirty, weight)
    assert not grad.masked_select(~mask[:, None]).any()
    for image, valid, value, w, g in zip(x, mask, out, weight, grad, strict=True):
        tokens = image[:, valid].mT[None].detach().requires_grad_()
        expected, expected_grad = value_and_gradient(pool(method), tokens, w[None])
        torch.testing.assert_close(value[None], expected)
        torch.testing.assert_close(g[:, valid].mT[None], expected_grad)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('side', ['gram', 'covariance'])
def test_mask_works_on_both_sides_and_layouts(method, side, device):
    x, mask = features(2, 5, 3, 4, device=device), torch.rand(2, 3, 4, device=device) < 0.7
    settings = dict(side=side) if method in SIDED else {}
    tokens = pool(method, **settings)(x.flatten(2).mT, mask=mask.flatten(1))
    torch.testing.assert_close(pool(method)(x, mask=mask), tokens, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize('method', METHODS)
def test_mask_without_a_valid_pixel_or_with_one(method, device):
    x = features(3, 5, 3, 3, device=device, grad=True)
    mask = torch.ones(3, 3, 3, dtype=torch.bool, device=device)
    mask[0], mask[1] = False, False
    mask[1, 1, 2] = True
    out = pool(method)(x, mask=mask)
    grad, = torch.autograd.grad(out.sum(), x)
    assert out.isfinite().all() and grad.isfinite().all()
    assert not grad[0].any()
    torch.testing.assert_close(out[2:], pool(method)(x[2:]))
    if method not in ('log', 'gaussian'):
        assert not out[:2].any() and not grad[1].any()
    elif method == 'gaussian':
        assert not out[0].any()


@pytest.mark.parametrize('method', [name for name, method in METHODS.items() if 'center' in method.options])
@pytest.mark.parametrize('shape', SHAPES)
def test_without_centring_it_is_the_second_moment(method, shape, device):
    # Pixels in opposite pairs have no mean.
    half = features(2, *shape, device=device)
    x = torch.cat([half, -half], -1)
    torch.testing.assert_close(pool(method, center=False)(x), pool(method)(x), rtol=1e-6, atol=1e-7)
    one = half.detach()[:1].requires_grad_()
    moment = covariance_pool(one, 'covariance', center=False)
    torch.testing.assert_close(moment, torch.einsum('bchw,bdhw->bcd', one, one) / (shape[1] * shape[2]))
    if method not in ('pade', 'signed_power', 'compact_bilinear'):  # the last: steep where bins are all but empty
        assert gradcheck(pool(method, center=False), one, atol=1e-5)


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('method', ['covariance', 'newton_schulz', 'polar_express', 'eigh', 'power', 'pade'])
def test_shrinkage(method, shape, device):
    x = features(2, *shape, device=device, grad=True)
    sigma = reference.shrunk(reference.covariance(x), 0.2)
    if method == 'newton_schulz':
        # Its steps, on matrices: those of features whose covariance is the shrunk one.
        factor = torch.linalg.cholesky(sigma)
        expected = covariance_pool(torch.cat([factor, -factor], 2)[..., None] * shape[0]**0.5, center=False)
    else:
        expected = sigma if method == 'covariance' else reference.spectral(sigma, torch.sqrt)
    if method == 'pade':
        assert relative_error(pool(method, shrinkage=0.2, degree=12)(x), expected) < 1e-3
        return
    torch.testing.assert_close(pool(method, shrinkage=0.2)(x), expected, rtol=1e-6, atol=1e-8)
    assert gradcheck(pool(method, shrinkage=0.2), x)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('x', [torch.zeros(2, 6, 3, 3), torch.full((2, 6, 3, 3), 7.), torch.rand(2, 6, 1, 1)],
                         ids=['zero', 'constant', 'one pixel'])
@pytest.mark.parametrize('side', ['gram', 'covariance'])
def test_no_variance_gives_zero_and_zero_gradient(x, method, side, device):
    x = x.to(device, torch.float64).requires_grad_()
    out = pool(method, **dict(side=side) if method in SIDED else {})(x)
    grad, = torch.autograd.grad(out.sum(), x)
    assert out.isfinite().all() and grad.isfinite().all()
    if method == 'log':  # of shrinkage I / C
        torch.testing.assert_close(out[0], math.log(1e-3 / 6) * torch.eye(6, dtype=x.dtype, device=device))
    elif method == 'gaussian':  # the mean is left
        torch.testing.assert_close(out @ out, torch.cat([x[:, :, 0, 0], torch.ones_like(x[:, :1, 0, 0])], 1)[:, None]
                                   * torch.cat([x[:, :, 0, 0], torch.ones_like(x[:, :1, 0, 0])], 1)[..., None])
    else:
        assert not out.any() and not grad.any()


@pytest.mark.parametrize('method', sorted(set(METHODS) - {'gaussian', 'log', 'pade'}))
def test_rank_one(method, device):
    direction = torch.tensor([1., 2., 0., -2.], dtype=torch.float64, device=device)
    weights = torch.tensor([1., -1., 2., -2., 0., 0.], dtype=torch.float64, device=device)  # variance 5 / 3
    x = (direction[:, None] * weights).reshape(1, 4, 2, 3).requires_grad_()
    out = pool(method)(x)
    grad, = torch.autograd.grad(out.sum(), x)
    assert out.isfinite().all() and grad.isfinite().all()
    sigma = direction[:, None] * direction * 5 / 3
    if method in ('covariance', 'dropcov'):
        torch.testing.assert_close(out[0], sigma)
    elif method in ('eigh', 'power', 'polar_express'):
        torch.testing.assert_close(out[0], sigma / math.sqrt(15))
    elif method == 'newton_schulz':  # its one eigenvalue is the trace: nothing is left to iterate
        torch.testing.assert_close(out[0], sigma / math.sqrt(15))


@pytest.mark.parametrize('method', METHODS)
def test_one_dead_image_leaves_the_others_alone(method, device):
    x = features(3, 6, 4, 4, device=device).clone()
    x[1] = 0
    x.requires_grad_()
    out = pool(method)(x)
    weight = torch.randn_like(out)
    grad, = torch.autograd.grad(out, x, weight)
    expected = value_and_gradient(pool(method), x.detach()[[0, 2]].requires_grad_(), weight[[0, 2]])
    torch.testing.assert_close((out[[0, 2]].detach(), grad[[0, 2]]), expected)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('scale', [1e-4, 1., 1e4])
@pytest.mark.parametrize('method', METHODS)
def test_half_precision_is_computed_in_float32(method, scale, dtype, device):
    x = (features(2, 16, 3, 3, device=device) * scale).to(dtype).requires_grad_()
    out = pool(method)(x)
    assert out.dtype == dtype
    assert out.isfinite().all()
    expected = pool(method)(x.detach().double()).clamp(-torch.finfo(dtype).max, torch.finfo(dtype).max)
    # The root of what float32 rounds away beside the embedding's 1 is larger than that rounding.
    rounding = 5e-4 if method == 'gaussian' else 2e-5
    torch.testing.assert_close(out.double(), expected, rtol=2 * torch.finfo(dtype).eps,
                               atol=max(torch.finfo(dtype).tiny, rounding * expected.abs().max().item()))
    if method == 'newton_schulz':
        weight = torch.randn_like(out)
        grad, = torch.autograd.grad(out, x, weight)
        expected = value_and_gradient(pool(method), x.detach().double().requires_grad_(), weight)[1]
        assert relative_error(grad, expected) < torch.finfo(dtype).eps


@pytest.mark.parametrize('method', METHODS)
def test_autocast_computes_and_returns_float32(method, device):
    x = features(2, 6, 4, 4, device=device, dtype=torch.float32, grad=True)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        out = pool(method)(x)
        assert pool(method)(x.bfloat16()).dtype == out.dtype == torch.float32
    weight = torch.randn_like(out)
    grad, = torch.autograd.grad(out, x, weight)
    expected, expected_grad = value_and_gradient(pool(method), x, weight)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(grad, expected_grad)


@pytest.mark.parametrize('method', METHODS)
def test_memory_format_and_strides_do_not_matter(method, device):
    x = features(2, 6, 5, 4, device=device)
    expected = pool(method)(x)
    torch.testing.assert_close(pool(method)(x.to(memory_format=torch.channels_last)), expected)
    torch.testing.assert_close(pool(method)(x.mT.contiguous().mT), expected)
    assert not x[:, ::2].is_contiguous()
    torch.testing.assert_close(pool(method)(x[:, ::2]), pool(method)(x[:, ::2].contiguous()))


@pytest.mark.parametrize('method', METHODS)
def test_images_do_not_mix(method, device):
    x = features(3, 6, 3, 3, device=device)
    each = torch.cat([pool(method)(image[None]) for image in x])
    torch.testing.assert_close(pool(method)(x), each)
    assert pool(method)(x[:0]).shape == (0, *each.shape[1:])


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('method', METHODS)
def test_vmap_equals_a_loop(method, shape, device):
    x = features(3, *shape, device=device)
    function = pool(method)

    def gradient(image):
        return torch.func.grad(lambda image: function(image[None]).square().sum().sin())(image)

    torch.testing.assert_close(torch.func.vmap(lambda image: function(image[None])[0])(x), function(x))
    expected = torch.autograd.functional.jacobian(
        lambda x: function(x).square().flatten(1).sum(1).sin().sum(), x, create_graph=False)
    torch.testing.assert_close(torch.func.vmap(gradient)(x), expected)
    leaf = x.clone().requires_grad_()
    losses = torch.vmap(lambda image: function(image[None]).square().sum().sin())(leaf)
    torch.testing.assert_close(torch.autograd.grad(losses.sum(), leaf)[0], expected)


@pytest.mark.parametrize('method', [name for name, method in METHODS.items() if method.forward_mode])
def test_forward_mode_and_hessian(method, device):
    x, tangent = features(2, 4, 3, 2, device=device), torch.randn(2, 4, 3, 2, dtype=torch.float64, device=device)
    function = pool(method, vector=True)
    value, change = torch.func.jvp(function, (x, ), (tangent, ))
    torch.testing.assert_close(value, function(x))
    _, vjp = torch.func.vjp(function, x)
    weight = torch.randn_like(value)
    torch.testing.assert_close((change * weight).sum(), (vjp(weight)[0] * tangent).sum())

    def loss(x):
        return function(x[None]).sin().sum()

    forward_over_reverse = torch.func.hessian(loss)(x[0])
    reverse_over_reverse = torch.autograd.functional.hessian(loss, x[0])
    torch.testing.assert_close(forward_over_reverse, reverse_over_reverse, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('method, shape', [
    (method, shape) for method in METHODS for shape in ([(12, 2, 3), (5, 4, 3)] if method in SIDED else [(5, 4, 3)])])
def test_compiled_without_graph_breaks_it_is_the_same(method, shape, device):
    if not COMPILES_FUNCTIONS and METHODS[method].factorises:
        pytest.skip('this torch.compile does not take their autograd functions')
    torch._dynamo.reset()
    x = features(2, *shape, device=device, grad=True)
    mask = torch.rand(2, *shape[1:], device=device) < 0.8
    function = pool(method, mask=mask, vector=True)
    expected = function(x)
    weight = torch.randn_like(expected)
    compiled = torch.compile(function, fullgraph=True, backend='aot_eager')(x)
    torch.testing.assert_close(compiled, expected)
    torch.testing.assert_close(torch.autograd.grad(compiled, x, weight), torch.autograd.grad(expected, x, weight))


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_non_finite_features_are_not_hidden(value, device):
    x = features(2, 4, 3, 3, device=device).clone()
    x[0, 0, 0, 0] = value
    out = covariance_pool(x)
    assert not out[0].isfinite().all() and out[1].isfinite().all()
    with pytest.raises(ValueError, match='1 of 2 images have NaN or infinite features'):
        covariance_pool(x, check_finite=True)
    mask = torch.ones(2, 3, 3, dtype=torch.bool, device=device)
    mask[0, 0, 0] = False
    assert covariance_pool(x, mask=mask, check_finite=True).isfinite().all()


def test_fake_tensors_leave_nothing_behind(device):
    with FakeTensorMode():
        leaf = torch.rand(2, 7, 3, 3, device=device, requires_grad=True)
        covariance_pool(leaf, vector=True).sum().backward()
    leaf = torch.rand(2, 7, 3, 3, device=device, requires_grad=True)
    covariance_pool(leaf, vector=True).sum().backward()
    assert leaf.grad.isfinite().all()


@pytest.mark.parametrize('settings, message', [
    (dict(method='sqrtm'), "method='sqrtm' is unknown: choose one of covariance, newton_schulz"),
    (dict(side='left'), "side='left' must be one of auto, gram, covariance"),
    (dict(num_iters=0), 'num_iters=0 must be an integer of at least 1'),
    (dict(num_iters=2.5), 'num_iters=2.5 must be an integer'),
    (dict(method='power', alpha=0), 'alpha=0 must be a number above 0'),
    (dict(method='log', shrinkage=1), 'shrinkage=1 must be a number from 0 to below 1'),
    (dict(method='log', shrinkage=0), 'shrinkage=0 does not suit'),
    (dict(pre_norm='frobenius'), "pre_norm='frobenius' must be one of trace, none"),
    (dict(shrinkage=0.1, side='gram'), "it needs side='covariance'"),
    (dict(method='gaussian', beta=-1), 'beta=-1 must be'),
    (dict(center=1), 'center=1 must be True or False'),
])
def test_unknown_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        covariance_pool(torch.rand(1, 2, 3, 3), **settings)
    with pytest.raises(ValueError, match=message):
        CovariancePooling(2, **settings)


def test_settings_that_do_not_go_together():
    with pytest.raises(ValueError, match='it needs vector=True'):
        covariance_pool(torch.rand(1, 2, 3, 3), scale_off_diagonal=True)
    # 10 bins are no upper triangle, though 10 is the size of one.
    with pytest.raises(ValueError, match="got vector=True and method='compact_bilinear'"):
        CovariancePooling(4, 'compact_bilinear', out_channels=10, scale_off_diagonal=True)
    with pytest.raises(ValueError, match='draw_sketch'):
        covariance_pool(torch.rand(1, 2, 3, 3), 'compact_bilinear')
    with pytest.raises(TypeError, match="unexpected keyword argument 'alpha'"):
        covariance_pool(torch.rand(1, 2, 3, 3), alpha=0.5)
    with pytest.raises(ValueError, match="method='newton_schulz' has no option alpha: it has num_iters, side"):
        CovariancePooling(4, alpha=0.5)
    with pytest.raises(ValueError, match="method='dropcov' has no option training: it has center"):
        CovariancePooling(4, 'dropcov', training=True)
    with pytest.raises(ValueError, match='channels=0 must be'):
        CovariancePooling(0)


@pytest.mark.parametrize('x, error, message', [
    (torch.rand(2, 3), ValueError, r'\(B, C, H, W\) or tokens of shape \(B, N, C\), got \(2, 3\)'),
    (torch.ones(1, 2, 3, 3, dtype=torch.long), TypeError, 'real floating-point features, got torch.int64'),
    (torch.ones(1, 2, 3, 3, dtype=torch.complex64), TypeError, 'real floating-point features, got torch.complex64'),
    (torch.rand(2, 3, 0, 4), ValueError, 'at least one channel and one pixel'),
    (torch.rand(2, 0, 3, 4), ValueError, 'at least one channel and one pixel'),
    (torch.rand(2, 0, 3), ValueError, 'at least one channel and one pixel'),
])
def test_wrong_input(x, error, message):
    with pytest.raises(error, match=message):
        covariance_pool(x)


@pytest.mark.parametrize('x, mask, error, message', [
    (torch.rand(2, 3, 4, 5), torch.ones(2, 4, 4, dtype=torch.bool), ValueError, r'shape \(2, 4, 5\), got \(2, 4, 4\)'),
    (torch.rand(2, 3, 4), torch.ones(2, 4, dtype=torch.bool), ValueError, r'shape \(2, 3\), got \(2, 4\)'),
    (torch.rand(2, 3, 4), torch.ones(2, 3), TypeError, 'the mask has to be boolean'),
])
def test_wrong_mask(x, mask, error, message):
    with pytest.raises(error, match=message):
        covariance_pool(x, mask=mask)


def test_a_sketch_for_other_channels():
    with pytest.raises(ValueError, match=r'a sketch for 8 channels has hashes and signs \(2, 8\), not \(2, 16\) and'):
        covariance_pool(torch.rand(2, 8, 3, 3), 'compact_bilinear', sketch=draw_sketch(16, 64), out_channels=64)
