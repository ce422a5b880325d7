import functools

import pytest
import torch

from mmgcp.ops import CrossCovariancePooling, cross_covariance_pool
from mmgcp.ops.compat import autocast_type


def straight(tokens, heads):
    """So-ViT's representation of tokens (N, C), float64, head by head."""
    tokens = tokens.double()
    out = []
    for head in tokens.chunk(heads, 1):
        q, k = (head - head.mean(0)).chunk(2, 1)
        u, s, v = torch.linalg.svd(q.T @ k / len(tokens))
        out.append(u @ torch.diag(s.sqrt()) @ v)
    return torch.stack(out)


def mixed(*shape, dtype=torch.float64, device='cpu'):
    """Features whose channels correlate."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return (x @ torch.randn(shape[-1], shape[-1], generator=generator, dtype=torch.float64)).to(device, dtype)


def test_is_the_root_of_centred_cross_covariances(device):
    x = mixed(2, 30, 24, device=device) + 5
    expected = torch.stack([straight(tokens, 3) for tokens in x])
    torch.testing.assert_close(cross_covariance_pool(x, 3), expected)
    torch.testing.assert_close(cross_covariance_pool(x.mT.reshape(2, 24, 5, 6), 3), expected)  # a map
    squared = torch.einsum('bhij,bhkj->bhik', expected, expected)
    plain = cross_covariance_pool(x, 3, normalize=False)
    torch.testing.assert_close(squared @ squared, plain @ plain.mT)


@pytest.mark.parametrize('normalize', [True, False])
def test_gradient(normalize, device):
    mask = torch.ones(2, 9, dtype=torch.bool, device=device)
    mask[1, 6:] = False
    x = mixed(2, 9, 12, device=device).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: cross_covariance_pool(x, 2, mask=mask, normalize=normalize), (x, ))


def test_gradient_where_singular_values_coincide(device):
    q = torch.randn(8, 3, dtype=torch.float64, device=device)
    q = q - q.mean(0)
    q, _ = torch.linalg.qr(q)
    x = torch.cat([q, q], 1)[None].requires_grad_()  # M = I / 8
    assert torch.autograd.gradcheck(lambda x: cross_covariance_pool(x, 1), (x, ))


@pytest.mark.parametrize('loss', [torch.sum, lambda out: out.sin().sum()])
def test_second_derivatives_are_refused(loss, device):
    x = mixed(2, 9, 12, device=device).requires_grad_()
    gradient, = torch.autograd.grad(loss(cross_covariance_pool(x, 2)), x, create_graph=True)
    with pytest.raises(RuntimeError, match='cross_covariance_pool has no second derivatives'):
        torch.autograd.grad(gradient.square().sum(), x)
    function = functools.partial(cross_covariance_pool, heads=2, normalize=False)
    assert torch.autograd.gradgradcheck(function, (mixed(1, 4, 4, device=device).requires_grad_(), ))


@pytest.mark.parametrize('normalize', [True, False])
def test_gradients_of_transforms(normalize, device):
    x = mixed(3, 9, 12, device=device).requires_grad_()

    def loss(tokens):
        return cross_covariance_pool(tokens[None], 2, normalize=normalize).sin().sum()

    expected, = torch.autograd.grad(sum(map(loss, x)), x)
    torch.testing.assert_close(torch.vmap(torch.func.grad(loss))(x), expected)
    torch.testing.assert_close(torch.func.grad(loss)(x[0]), expected[0])
    # differentiated from outside, as landscapes do
    torch.testing.assert_close(torch.autograd.grad(torch.vmap(loss)(x).sum(), x)[0], expected)


def test_second_derivatives_by_transforms_are_refused(device):
    x = mixed(2, 9, 12, device=device)
    gradient = torch.func.grad(lambda x: cross_covariance_pool(x, 2).sin().sum())
    with pytest.raises(RuntimeError, match='cross_covariance_pool has no second derivatives'):
        torch.func.grad(lambda x: gradient(x).square().sum())(x)


@pytest.mark.parametrize('x', [torch.zeros(2, 6, 8), torch.ones(2, 6, 8), mixed(2, 2, 8).float()],
                         ids=['zeros', 'constant', 'rank 1'])
def test_finite_where_singular_values_vanish(x, device):
    x = x.to(device, copy=True).requires_grad_()
    out = cross_covariance_pool(x, 1)
    out.sum().backward()
    assert out.isfinite().all() and x.grad.isfinite().all()


@pytest.mark.parametrize('scale', [1e-30, 1., 1e30])
def test_constant_channels_are_zero(scale, device):
    # Their values are no binary fractions: the mean is subject to rounding.
    x = (scale * torch.rand(2, 1, 12, device=device)).expand(-1, 49, -1).clone().requires_grad_()
    out = cross_covariance_pool(x, 2)
    gradient, = torch.autograd.grad(out, x, torch.randn_like(out))
    assert not out.any() and not gradient.any()


@pytest.mark.parametrize('scale', [1e-30, 1e-18, 1e-3, 1e3, 1e18, 1e30])
def test_proportional_to_the_features(scale, device):
    x = mixed(2, 20, 12, dtype=torch.float32, device=device)
    torch.testing.assert_close(cross_covariance_pool(x * scale, 2) / scale, cross_covariance_pool(x, 2),
                               rtol=1e-4, atol=1e-4)


def test_each_head_is_proportional_to_its_features(device):
    """A head that is far smaller than the others does not vanish beside them."""
    x = mixed(2, 20, 12, dtype=torch.float32, device=device)
    mask = torch.ones(2, 20, dtype=torch.bool, device=device)
    mask[0, 15:] = False
    factors = torch.tensor([1e-25] * 6 + [1.] * 6, device=device)
    torch.testing.assert_close(cross_covariance_pool(x * factors, 2, mask=mask)[:, 0] * 1e25,
                               cross_covariance_pool(x, 2, mask=mask)[:, 0], rtol=1e-4, atol=1e-4)


def test_padding_does_not_count(device):
    x, mask = mixed(2, 10, 12, device=device), torch.ones(2, 10, dtype=torch.bool, device=device)
    mask[1, 7:] = False
    x[1, 7:] = torch.nan
    out = cross_covariance_pool(x, 2, mask=mask)
    torch.testing.assert_close(out[1:], cross_covariance_pool(x[1:, :7], 2))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_keeps_the_dtype_and_computes_in_float32(dtype, device):
    x = mixed(2, 20, 12, dtype=dtype, device=device)
    out = cross_covariance_pool(x, 2)
    expected = torch.stack([straight(tokens, 2) for tokens in x])
    assert out.dtype == dtype
    torch.testing.assert_close(out, expected.to(dtype), rtol=2e-2 if dtype == torch.bfloat16 else 2e-3, atol=1e-3)


def test_float16_does_not_overflow(device):
    out = cross_covariance_pool((mixed(1, 20, 4, device=device) * 3000).half(), 1, normalize=False)
    assert out.abs().max() == torch.finfo(torch.float16).max


def test_leaves_autocast(device):
    x = mixed(2, 20, 12, dtype=torch.float32, device=device)
    expected = cross_covariance_pool(x, 2)
    x.requires_grad_()
    with torch.autocast(autocast_type(device), torch.bfloat16):
        out = cross_covariance_pool(x, 2)
        half = cross_covariance_pool(x.bfloat16(), 2)
        gradient, = torch.autograd.grad(out.square().sum(), x)
    assert out.dtype == half.dtype == gradient.dtype == torch.float32
    assert torch.equal(out, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(cross_covariance_pool(x, 2).square().sum(), x)[0])


def test_an_image_of_nan_spoils_no_other(device):
    x = mixed(2, 20, 12, device=device)
    expected = cross_covariance_pool(x, 2)[1]
    x[0, 3, 4] = torch.nan
    out = cross_covariance_pool(x, 2)
    assert out[0].isnan().any()
    torch.testing.assert_close(out[1], expected)


@pytest.mark.parametrize('channels, heads, sentence', [
    (8, 0, 'heads=0 must be an integer of at least 1'),
    (8, 1.5, 'heads=1.5 must be an integer'),
    (10, 2, '10 channels cannot be divided into heads=2 of two parts each: take a multiple of 4 channels'),
])
def test_refuses_heads(channels, heads, sentence):
    with pytest.raises(ValueError, match=sentence):
        CrossCovariancePooling(channels, heads)
    with pytest.raises(ValueError, match=sentence):
        cross_covariance_pool(torch.rand(1, 4, channels), heads)
