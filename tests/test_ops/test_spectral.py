from decimal import Decimal, localcontext

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from mmgcp.ops.covariance import covariance_factor
from mmgcp.ops.spectral import Log, Power, spectral_pool

from .reference import relative_error, value_and_gradient

# (C, N): more channels than pixels, as many, fewer
SHAPES = [(7, 4), (5, 5), (4, 8)]
SIDES = ['gram', 'covariance']
# function and shift
CASES = [(Power(0.3), 0.), (Power(0.5), 0.), (Power(1.), 0.), (Power(0.5), 0.1), (Power(0.3), 1e-3), (Log(), 0.1)]


def case_name(value):
    if isinstance(value, (Power, Log)):
        return f'{type(value).__name__}{value.alpha or ""}'


cases = pytest.mark.parametrize('function, shift', CASES, ids=case_name)


def features(*shape, device, dtype=torch.float64, grad=False):
    """Like the output of a ReLU: not negative, some zeros, channels of different strength and correlated."""
    mixing = torch.randn(shape[1], shape[1], dtype=torch.float64) / shape[1]**0.5
    mixing = mixing + torch.eye(shape[1], dtype=torch.float64)
    x = (mixing @ torch.randn(*shape, dtype=torch.float64)).relu()
    return x.to(device, dtype).requires_grad_(grad)


def pool(function, side, shift=0.):
    return lambda x: spectral_pool(covariance_factor(x), function, side, shift)


def scalar(function, x):
    return x.log() if isinstance(function, Log) else x**function.alpha


def through_eigh(function, shift=0.):
    """The same by autograd through the eigendecomposition of the covariance."""
    def call(x):
        factor = covariance_factor(x)
        values, vectors = torch.linalg.eigh(factor @ factor.mT)
        values = values * (values > 1e-12) + shift
        return (vectors * scalar(function, values)[..., None, :]) @ vectors.mT
    return call


def symmetric(*shape, device):
    weight = torch.randn(*shape, dtype=torch.float64, device=device)
    return weight + weight.mT


def square(device):
    """One image of 2 channels and 4 pixels at the corners of a square: the covariance is I / 2."""
    return torch.tensor([[[1., -1., 0., 0.], [0., 0., 1., -1.]]], dtype=torch.float64, device=device)


@cases
@pytest.mark.parametrize('side', SIDES)
@pytest.mark.parametrize('shape', SHAPES)
def test_value(shape, side, function, shift, device):
    x = features(3, *shape, device=device)
    out = pool(function, side, shift)(x)
    torch.testing.assert_close(out, through_eigh(function, shift)(x), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(out, out.mT, rtol=1e-12, atol=1e-12)


@cases
def test_gradient_equals_autograd_where_eigenvalues_are_distinct(function, shift, device):
    x = features(3, 4, 9, device=device, grad=True)
    weight = symmetric(3, 4, 4, device=device)
    _, expected = value_and_gradient(through_eigh(function, shift), x, weight)
    for side in SIDES:
        _, grad = value_and_gradient(pool(function, side, shift), x, weight)
        torch.testing.assert_close(grad, expected, rtol=1e-8, atol=1e-9)


@cases
@pytest.mark.parametrize('shape', SHAPES)
def test_both_sides_agree_in_value_and_gradient(shape, function, shift, device):
    x = features(3, *shape, device=device, grad=True)
    weight = torch.randn(3, shape[0], shape[0], dtype=torch.float64, device=device)
    gram = value_and_gradient(pool(function, 'gram', shift), x, weight)
    direct = value_and_gradient(pool(function, 'covariance', shift), x, weight)
    torch.testing.assert_close(gram, direct, rtol=1e-7, atol=1e-8)


@cases
@pytest.mark.parametrize('side', SIDES)
@pytest.mark.parametrize('shape', [(4, 3), (3, 3), (2, 4)])
def test_first_and_second_derivatives(shape, side, function, shift, device):
    # Also where the rank is below C or N, as centring makes it: the zero eigenvalues stay zero.
    x = torch.randn(1, *shape, dtype=torch.float64, device=device, requires_grad=True)
    assert gradcheck(pool(function, side, shift), x, fast_mode=True)
    assert gradgradcheck(pool(function, side, shift), x, fast_mode=True)


@cases
@pytest.mark.parametrize('side', SIDES)
def test_derivatives_with_equal_eigenvalues(side, function, shift, device):
    x = square(device).requires_grad_()
    assert gradcheck(pool(function, side, shift), x, check_forward_ad=True)
    assert gradgradcheck(pool(function, side, shift), x)


@pytest.mark.parametrize('function', [Power(0.5), Log()], ids=case_name)
@pytest.mark.parametrize('side', SIDES)
def test_derivatives_at_any_rank_with_a_shift(side, function, device):
    # From rank 0 and 1 the rank may grow: with a shift nothing is singular there.
    for x in (torch.zeros(1, 3, 3), torch.tensor([[1.], [2.], [0.]]) * torch.tensor([[1., 0., 3.]])):
        x = x.reshape(1, 3, 3).to(device, torch.float64).requires_grad_()
        assert gradcheck(pool(function, side, 0.2), x)
        assert gradgradcheck(pool(function, side, 0.2), x)


@pytest.mark.parametrize('side', SIDES)
@pytest.mark.parametrize('alpha', [0.3, 0.5, 1.])
def test_gradient_along_directions_that_keep_zero_eigenvalues(alpha, side, device):
    # Rank 2 in 5 channels, kept along the direction of the derivative: the power is differentiable along it.
    mixing = torch.randn(5, 2, dtype=torch.float64, device=device)
    source = torch.randn(1, 2, 12, dtype=torch.float64, device=device)
    weight = torch.randn(1, 5, 5, dtype=torch.float64, device=device)
    change = torch.randn_like(mixing)

    def loss(step):
        return (pool(Power(alpha), side)((mixing + step * change) @ source) * weight).sum()

    step = torch.zeros((), dtype=torch.float64, device=device, requires_grad=True)
    first, = torch.autograd.grad(loss(step), step, create_graph=True)
    second, = torch.autograd.grad(first, step)
    losses = [loss(torch.tensor(move, dtype=torch.float64, device=device)) for move in (-1e-4, 0., 1e-4)]
    assert first.item() == pytest.approx((losses[2] - losses[0]).item() / 2e-4, rel=1e-6)
    assert second.item() == pytest.approx((losses[2] - 2 * losses[1] + losses[0]).item() / 1e-8, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize('side', SIDES)
@pytest.mark.parametrize('alpha', [0.3, 0.5, 1.])
def test_zero_and_rank_one_images(alpha, side, device):
    x = features(3, 6, 9, device=device).clone()
    x[1] = 7.
    x[2] = x[2, :, :1] * x[2, :1]
    x.requires_grad_()
    out = pool(Power(alpha), side)(x)
    grad, = torch.autograd.grad(out.square().sum(), x, create_graph=True)
    second, = torch.autograd.grad(grad.square().sum(), x)
    assert not out[1].any() and not grad[1].any() and not second[1].any()
    assert out.isfinite().all() and grad.isfinite().all() and second.isfinite().all()
    # Of rank one, S = s u u^T and S^alpha = s^(alpha - 1) S.
    factor = covariance_factor(x[2:].detach())
    covariance = factor @ factor.mT
    largest = covariance.diagonal(dim1=1, dim2=2).sum()
    torch.testing.assert_close(out[2:], covariance * largest**(alpha - 1), rtol=1e-8, atol=1e-8)
    alone = x[:1].detach().requires_grad_()
    torch.testing.assert_close(out[:1], pool(Power(alpha), side)(alone))
    torch.testing.assert_close(grad[:1], torch.autograd.grad(pool(Power(alpha), side)(alone).square().sum(), alone)[0])


@pytest.mark.parametrize('side', SIDES)
def test_zero_factor_with_a_shift(side, device):
    x = torch.zeros(1, 3, 2, dtype=torch.float64, device=device, requires_grad=True)
    out = spectral_pool(x, Log(), side, 0.1)
    identity = torch.eye(3, dtype=torch.float64, device=device)
    torch.testing.assert_close(out[0], torch.tensor(0.1, dtype=torch.float64, device=device).log() * identity)
    assert not torch.autograd.grad(out.sum(), x)[0].any()
    with pytest.raises(ValueError, match='needs a positive shift'):
        spectral_pool(x, Log(), side)


@pytest.mark.parametrize('side', SIDES)
@pytest.mark.parametrize('function, shift', [(Power(0.5), 0.), (Log(), 0.1)], ids=case_name)
@pytest.mark.filterwarnings('ignore:There is a performance drop')
def test_function_transforms(function, shift, side, device):
    x = features(3, 4, 3, device=device)
    batched = pool(function, side, shift)

    def single(x):
        return batched(x[None])[0]

    def loss(x):
        return (single(x) * weight).sum()

    weight = torch.randn(4, 4, dtype=torch.float64, device=device)
    torch.testing.assert_close(torch.func.vmap(single)(x), batched(x))
    out, pull = torch.func.vjp(batched, x)
    expected, grad = value_and_gradient(batched, x.clone().requires_grad_(), weight.expand(3, -1, -1))
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(pull(weight.expand(3, -1, -1))[0], grad)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(loss))(x), grad)
    jacobian = torch.autograd.functional.jacobian(single, x[0])
    torch.testing.assert_close(torch.func.jacrev(single)(x[0]), jacobian)
    torch.testing.assert_close(torch.func.jacfwd(single)(x[0]), jacobian)
    torch.testing.assert_close(torch.func.hessian(loss)(x[0]), torch.autograd.functional.hessian(loss, x[0]))


def test_third_derivatives_are_refused(device):
    x = features(1, 3, 5, device=device, grad=True)
    grad, = torch.autograd.grad(pool(Power(0.5), 'covariance')(x).square().sum(), x, create_graph=True)
    second, = torch.autograd.grad(grad.square().sum(), x, create_graph=True)
    with pytest.raises((NotImplementedError, RuntimeError)):
        torch.autograd.grad(second.sum(), x)


def test_the_eigendecomposition_is_not_repeated(device, monkeypatch):
    x = features(2, 3, 5, device=device, grad=True)
    out = pool(Power(0.5), 'covariance')(x)

    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr(torch.linalg, 'eigh', refuse)
    grad, = torch.autograd.grad(out.square().sum(), x, create_graph=True)
    torch.autograd.grad(grad.square().sum(), x)


def exact_difference(function, nodes):
    """Divided difference in 120 digits, with coincident nodes 1e-22 apart."""
    with localcontext() as context:
        context.prec = 120
        nodes = [Decimal(node) * (1 + i * Decimal('1e-22')) for i, node in enumerate(sorted(nodes))]
        table = [node.ln() if isinstance(function, Log) else node**Decimal(function.alpha) for node in nodes]
        for order in range(1, len(nodes)):
            table = [(table[i + 1] - table[i]) / (nodes[i + order] - nodes[i]) for i in range(len(table) - 1)]
        return float(table[0])


@pytest.mark.parametrize('function', [Power(0.3), Power(0.5), Power(0.9), Log()], ids=case_name)
@pytest.mark.parametrize('dtype, tolerances', [(torch.float64, (1e-14, 1e-12, 1e-10)),
                                               (torch.float32, (1e-6, 1e-4, 1e-3))])
def test_divided_differences(dtype, tolerances, function):
    for count, tolerance in zip((2, 3, 4), tolerances, strict=True):
        for spread in (0, 1e-12, 1e-8, 1e-5, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1, 50, 1e4):
            for scale in (1e-4, 1., 1e3):
                nodes = (scale * (1 + spread * torch.rand(count, dtype=torch.float64))).to(dtype)
                nodes[-1] = nodes[0] if scale == 1 else nodes[-1]  # some of them coincide
                expected = exact_difference(function, nodes.tolist())
                assert function.difference(*nodes).item() == pytest.approx(expected, rel=tolerance)


def test_divided_differences_in_closed_form():
    four, nine, zero = (torch.tensor(value, dtype=torch.float64) for value in (4., 9., 0.))
    root = Power(0.5)
    assert root.difference(four, nine).item() == pytest.approx(1 / 5, rel=1e-15)
    assert root.difference(four, four, four).item() == pytest.approx(-1 / 64, rel=1e-15)  # f'' / 2
    assert Log().difference(four, four, four, four).item() == pytest.approx(1 / 192, rel=1e-15)  # f''' / 6
    # What is not finite counts as zero, also within the recursion.
    assert root.difference(zero, zero) == 0
    assert root.difference(zero, four).item() == 1 / 2
    assert root.difference(zero, zero, four).item() == 1 / 8
    # The identity has a derivative at zero.
    assert Power(1.).difference(zero, zero) == 1
    assert Power(1.).difference(four, nine, zero) == 0


@cases
@pytest.mark.parametrize('side', SIDES)
@pytest.mark.parametrize('shape', [(64, 49), (32, 196)])
def test_float32_at_real_sizes(shape, side, function, shift, device):
    x = features(4, *shape, device=device, dtype=torch.float32, grad=True)
    weight = torch.randn(4, shape[0], shape[0], device=device)
    out, grad = value_and_gradient(pool(function, side, shift), x, weight)
    expected, expected_grad = value_and_gradient(
        pool(function, 'covariance', shift), x.detach().double().requires_grad_(), weight.double())
    # cuSOLVER's eigenvectors are less exact than LAPACK's.
    tolerance = 1e-5 if device.type == 'cpu' else 1e-4
    assert relative_error(out, expected) < tolerance
    assert relative_error(grad, expected_grad) < 10 * tolerance
