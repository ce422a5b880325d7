"""All methods outside the usual range: scales, constants, zeros and values that are not finite, against float64."""
import pytest
import torch

from mmgcp.ops import METHODS
from mmgcp.ops.compat import TORCH_2_4

from .reference import relative_error, value_and_gradient
from .test_pooling import SIDED, features, pool

# Of features times s, the result is that of the features times s to this power.
DEGREES = {'covariance': 2, 'dropcov': 2, 'newton_schulz': 1, 'polar_express': 1, 'eigh': 1, 'power': 1, 'pade': 1,
           'signed_power': 0, 'compact_bilinear': 0}
VANISHING = sorted(set(METHODS) - {'log', 'gaussian'})  # where features have no variance


@pytest.mark.parametrize('method', VANISHING)
@pytest.mark.parametrize('side', ['gram', 'covariance'])
@pytest.mark.parametrize('scale', [1e-30, 1e-12, 1., 1e30])
def test_constant_channels_are_zero(scale, side, method, device):
    # Their values are no binary fractions: the mean is subject to rounding.
    x = (scale * torch.rand(2, 16, 1, 1, device=device)).expand(-1, -1, 7, 7).clone().requires_grad_()
    for mask in (None, torch.rand(2, 7, 7, device=device) < 0.7):
        function = pool(method, **dict(side=side) if method in SIDED else {}, mask=mask)
        out, grad = value_and_gradient(function, x, torch.randn_like(function(x)))
        assert not out.any() and not grad.any()


@pytest.mark.parametrize('method', ['covariance', 'newton_schulz', 'polar_express', 'eigh', 'power', 'pade'])
def test_shrinkage_of_zeros_is_zero(method, device):
    x = features(2, 6, 4, 4, device=device, dtype=torch.float32)
    x[0] = 0
    x.requires_grad_()
    out, grad = value_and_gradient(pool(method, shrinkage=0.1), x, torch.randn(2, 6, 6, device=device))
    assert not out[0].any() and not grad[0].any()
    assert out[1].isfinite().all() and grad[1].any()


@pytest.mark.parametrize('method', DEGREES)
@pytest.mark.parametrize('side, shape', [('gram', (12, 3, 3)), ('covariance', (6, 4, 4)), ('gram', (6, 4, 4))])
@pytest.mark.parametrize('scale', [1e-30, 1e-21, 1e-12, 1e-4, 1e10, 1e17, 1e30])
def test_scale_does_not_matter(scale, side, shape, method, device):
    x = features(2, *shape, device=device, dtype=torch.float32)
    exact = x.double().requires_grad_()
    function = pool(method, **dict(side=side) if method in SIDED else {})
    degree = DEGREES[method]
    weight = torch.randn_like(function(exact))
    expected, expected_grad = value_and_gradient(function, exact, weight)
    out, grad = value_and_gradient(function, (x * scale).requires_grad_(), weight.float())
    largest = torch.finfo(out.dtype).max
    in_range = 1e-38 < scale**degree < 1e36
    if in_range:
        assert relative_error(out.double() / scale**degree, expected) < 3e-5
    elif scale > 1:  # no overflow turns into a zero
        assert not out.isfinite().any() and (expected.abs() * scale**degree > largest).all()
    if 1e-36 < scale**(degree - 1) < 1e36:
        assert relative_error(grad.double() / scale**(degree - 1), expected_grad) < 1e-3


def test_a_power_that_overflows_keeps_zeros(device):
    x = features(2, 12, 3, 3, device=device, dtype=torch.float32)
    x[:, 3] = 0
    out = pool('power', alpha=1., side='gram')(x * 1e30)
    assert not out[:, 3].any() and not out[:, :, 3].any()
    assert out.diagonal(dim1=1, dim2=2).isinf().sum() == 2 * 11


@pytest.mark.parametrize('scale', [1e-25, 1e-6, 1e25])
def test_scale_of_the_logarithm(scale, device):
    x = features(2, 6, 4, 4, device=device, dtype=torch.float32)
    exact = x.double().requires_grad_()
    weight = torch.randn(2, 6, 6, dtype=torch.float64, device=device)
    expected, expected_grad = value_and_gradient(pool('log'), exact, weight)
    shift = 2 * torch.tensor(scale, dtype=torch.float64).log() * torch.eye(6, dtype=torch.float64, device=device)
    out, grad = value_and_gradient(pool('log'), (x * scale).requires_grad_(), weight)
    assert relative_error(out, expected + shift) < 1e-5
    assert relative_error(grad.double() * scale, expected_grad) < 1e-4


@pytest.mark.parametrize('side', ['gram', 'covariance'])
@pytest.mark.parametrize('scale', [1e-5, 1e-4, 1e-2, 1e6])
def test_scale_of_the_gaussian_embedding(scale, side, device):
    x = scale * features(2, 6, 4, 4, device=device, dtype=torch.float32)
    weight = torch.randn(2, 7, 7, device=device)
    out, grad = value_and_gradient(pool('gaussian', side=side), x.clone().requires_grad_(), weight)
    expected, expected_grad = value_and_gradient(pool('gaussian', side=side), x.double().requires_grad_(), weight)
    assert relative_error(out[:, :6, :6], expected[:, :6, :6]) < 1e-5
    assert relative_error(grad, expected_grad) < 1e-5


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('side', ['gram', 'covariance'])
def test_backward_inside_autocast(side, method, dtype, device):
    if device.type == 'cpu' and dtype == torch.float16 and not TORCH_2_4:
        pytest.skip('this autocast has no float16 on the CPU')
    x = features(2, 6, 3, 3, device=device, dtype=torch.float32, grad=True)
    function = pool(method, **dict(side=side) if method in SIDED else {})
    weight = torch.randn_like(function(x))
    expected = torch.autograd.grad(function(x), x, weight, create_graph=True)[0]
    second = torch.autograd.grad(expected.sin().sum(), x)[0]
    with torch.autocast(device.type, dtype):
        grad = torch.autograd.grad(function(x), x, weight, create_graph=True)[0]
        again = torch.autograd.grad(grad.sin().sum(), x)[0]
    torch.testing.assert_close(grad, expected)
    assert relative_error(again, second) < 2e-5  # a GPU adds in any order


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('side', ['gram', 'covariance'])
def test_an_image_that_is_not_finite_is_so_alone(side, method, value, device):
    x = features(3, 6, 3, 3, device=device, dtype=torch.float32)
    x[1, 2, 0, 1] = value
    function = pool(method, **dict(side=side) if method in SIDED else {})
    leaf = x.clone().requires_grad_()
    out = function(leaf)
    weight = torch.randn_like(out)
    grad, = torch.autograd.grad(out, leaf, weight)
    assert out[1].isnan().any() and not grad[1].isfinite().all()
    assert out[::2].isfinite().all() and grad[::2].isfinite().all()
    if method in ('eigh', 'power', 'log', 'pade', 'gaussian', 'newton_schulz', 'polar_express'):
        assert out[1].isnan().all()
    expected = value_and_gradient(function, x[::2].clone().requires_grad_(), weight[::2])
    torch.testing.assert_close((out[::2].detach(), grad[::2]), expected, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize('dtype, num_iters', [(torch.float32, 40), (torch.float64, 100)])
@pytest.mark.parametrize('shape', [(12, 3, 3), (9, 3, 3), (6, 4, 4)])
@pytest.mark.parametrize('side', ['gram', 'covariance'])
def test_many_newton_schulz_steps_give_the_root(side, shape, dtype, num_iters, device):
    x = features(2, *shape, device=device, dtype=dtype, grad=True)
    weight = torch.randn(2, shape[0], shape[0], device=device, dtype=dtype)
    out, grad = value_and_gradient(pool('newton_schulz', num_iters=num_iters, side=side), x, weight)
    assert relative_error(out, pool('eigh')(x.double())) < 1e-3
    assert grad.isfinite().all()


@pytest.mark.parametrize('side', ['gram', 'covariance'])
def test_many_steps_without_pre_normalisation(side, device):
    x = features(2, 12, 3, 3, device=device, dtype=torch.float32, grad=True)
    out, grad = value_and_gradient(pool('newton_schulz', num_iters=60, pre_norm='none', side=side), x,
                                   torch.randn(2, 12, 12, device=device))
    assert relative_error(out, pool('eigh')(x.double())) < 1e-3
    assert grad.isfinite().all()


@pytest.mark.parametrize('dtype, num_iters', [(torch.float32, 60), (torch.float32, 100), (torch.float64, 150)])
def test_many_steps_of_the_gradient_of_pade(num_iters, dtype, device):
    x = features(2, 6, 4, 4, device=device, dtype=dtype, grad=True)
    weight = torch.randn(2, 6, 6, device=device, dtype=dtype)
    _, grad = value_and_gradient(pool('pade', num_iters=num_iters), x, weight)
    _, expected = value_and_gradient(pool('pade', num_iters=30), x.detach().double().requires_grad_(), weight)
    assert relative_error(grad, expected) < 1e-4


@pytest.mark.parametrize('method', ['covariance', 'signed_power'])
def test_infinite_features_give_no_finite_half_precision(method, device):
    x = torch.ones(2, 3, 2, 2, dtype=torch.float16, device=device)
    x[1] = torch.inf
    out = pool(method, center=False)(x)
    assert out[0].isfinite().all() and not out[1].isfinite().any()


@pytest.mark.parametrize('vector', [False, True])
@pytest.mark.parametrize('side', ['gram', 'covariance'])
@pytest.mark.filterwarnings('ignore:There is a performance drop')
def test_vectorised_derivatives_of_newton_schulz(side, vector, device):
    x = features(1, 3, 2, 2, device=device)
    function = pool('newton_schulz', side=side, vector=vector)
    for derivative, target in ((torch.autograd.functional.jacobian, function),
                               (torch.autograd.functional.hessian, lambda x: function(x).sin().sum())):
        torch.testing.assert_close(derivative(target, x, vectorize=True), derivative(target, x))


def test_isometric_weights_in_float64(device):
    x = features(1, 4, 3, 3, device=device)
    matrix, vector = pool('eigh')(x)[0], pool('eigh')(x, vector=True, scale_off_diagonal=True)[0]
    torch.testing.assert_close(vector[1], matrix[0, 1] * 2**0.5, rtol=1e-14, atol=0)


SHAPES = [(1, 1, 1), (1, 2, 3), (7, 1, 1), (5, 1, 2), (12, 3, 3), (9, 3, 3), (6, 4, 5)]
SCALES = [1e-30, 1e-15, 1e-6, 1., 1e6, 1e15, 1e30]
KINDS = ['usual', 'constant', 'rank one', 'zero', 'not finite']
DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]


def of_kind(kind, shape, device):
    x = features(3, *shape, device=device) + 0.01
    if kind == 'rank one':
        x[1] = torch.rand(shape[0], 1, 1, device=device) * x[1, :1]
    elif kind == 'constant':
        x[1] = x[1, :, :1, :1]
    elif kind == 'zero':
        x[1] = 0
    elif kind == 'not finite':
        x[1, 0, 0, 0] = torch.nan
    return x


@pytest.mark.parametrize('case', range(70))
@pytest.mark.parametrize('method', METHODS)
def test_every_image_is_as_in_float64(method, case, device):
    """Settings in turns, of numbers without common factors, so that all pairs of them come up."""
    shape, scale, kind, dtype = SHAPES[case % 7], SCALES[case // 7 % 7], KINDS[case % 5], DTYPES[case // 2 % 4]
    side = ('gram', 'covariance')[case % 2]
    function = pool(method, **dict(side=side) if method in SIDED else {})
    x = (of_kind(kind, shape, device) * scale).to(dtype).requires_grad_()
    with torch.autocast(device.type, torch.bfloat16, enabled=case % 3 == 0):
        out = function(x)
        weight = torch.randn_like(out)
        grad, = torch.autograd.grad(out, x, weight)
    exact = x.detach().double().requires_grad_()
    expected, expected_grad = value_and_gradient(function, exact, weight)
    for image in range(3):
        if not x[image].isfinite().all():
            assert not out[image].isfinite().all()
            continue
        assert expected[image].isfinite().all() and expected_grad[image].isfinite().all()
        if (expected[image].abs() < torch.finfo(out.dtype).max).all():
            assert out[image].isfinite().all()
            if expected[image].norm() > 1e-36:
                # Entries of signed powers and Gaussian embeddings are roots, of rounding where it is all there is.
                tolerance = 1e-2 if out.dtype in (torch.bfloat16, torch.float16) else 2e-3
                norm = expected[image].norm()
                smallest = torch.finfo(out.dtype).tiny * torch.finfo(out.dtype).eps
                assert (out[image].double() - expected[image]).norm() < tolerance * norm + smallest * out[image].numel()
            else:
                assert out[image].double().norm() < 1e-36
        if (dtype in (torch.float32, torch.float64) and image != 1 and shape[0] > 1
                and 1e-30 < expected_grad[image].norm() < 1e30):
            assert relative_error(grad[image], expected_grad[image]) < 1e-3
        if (expected_grad[image].abs() < torch.finfo(dtype).max / 1e6).all() and method != 'covariance':
            assert grad[image].isfinite().all()
