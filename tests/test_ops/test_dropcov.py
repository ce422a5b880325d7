"""DropCov against the published formula, computed in float64 image by image."""
import math

import pytest
import torch

from mmgcp.ops import CovariancePooling, covariance_pool, draw_gate
from mmgcp.ops.covariance import covariance_factor
from mmgcp.ops.dropcov import channel_weights, drop_rate

GATE = torch.tensor([0.5, -0.3, 0.8])


def features(batch=2, channels=32, side=2, device=None, dtype=torch.float64):
    """More channels than pixels and no common trend, so that the gate and the correlations agree halfway."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, channels, side, side, dtype=torch.float64, generator=generator).to(device, dtype)


def published(x, gate):
    """Gated features (C, N) of each image, and the rate of the batch."""
    gated, cosines = [], []
    for image in x.double().flatten(2):
        channels, pixels = image.shape
        means = [float(row.sum()) / pixels for row in image]
        scores = [sum(float(gate[k]) * means[c + k - 1] for k in range(3) if 0 <= c + k - 1 < channels)
                  for c in range(channels)]
        weights = torch.tensor([math.exp(score) for score in scores], dtype=torch.float64, device=x.device)
        weights = weights / weights.sum()
        image = image * weights[:, None] + image
        sums = torch.cov(image, correction=0).sum(1)
        gated.append(image)
        cosines.append(float(weights @ sums / (weights.norm() * sums.norm())))
    return gated, min(max(1 - 10 / math.log2(channels) * sum(cosines) / len(cosines), 0.), 1.)


def train_pool(x, gate=GATE, **options):
    return covariance_pool(x, 'dropcov', gate=(gate, ), training=True, **options)


def rate_of(x, gate=GATE, mask=None):
    """Rate of the batch, as the operator has it."""
    flat = x.flatten(2)
    weights = channel_weights(flat, mask, gate)
    return drop_rate(covariance_factor(flat, mask) * (1 + weights), weights).item()


@pytest.mark.parametrize('channels, side', [(32, 2), (64, 3)])
def test_value_is_the_published_one(channels, side, device):
    x = features(3, channels, side, device=device)
    gated, rate = published(x, GATE)
    assert 0.05 < rate < 0.95 and rate_of(x) == pytest.approx(rate, rel=1e-10)
    out = train_pool(x)
    kept = (out.diagonal(dim1=1, dim2=2) != 0).double()
    assert 0 < kept.mean() < 1
    for image, factors, actual in zip(gated, kept, out, strict=True):
        expected = torch.cov(factors[:, None] * image / (1 - rate), correction=0)
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)
    assert train_pool(x.float()).dtype == torch.float32
    assert rate_of(x.float()) == pytest.approx(rate, rel=1e-4)


def test_as_many_channels_are_dropped_as_the_rate_says(device):
    x = features(4, 64, 3, device=device)
    samples = torch.stack([train_pool(x) for _ in range(300)])
    dropped = (samples.diagonal(dim1=2, dim2=3) == 0).double().mean((0, 2))
    torch.testing.assert_close(dropped, torch.full_like(dropped, rate_of(x)), rtol=0, atol=0.02)


@pytest.mark.parametrize('gate, rate', [(torch.zeros(3), 0.), (torch.tensor([0., -300., 0.]), 1.)])
def test_rate_is_clamped(gate, rate, device):
    # Channels with equal strength, of which the others only get noise: the gate picks or avoids them.
    x = torch.rand(2, 1, 6, 6, dtype=torch.float64, device=device).expand(-1, 16, -1, -1).contiguous()
    x[:, 0] *= -0.01
    leaf = x.requires_grad_()
    out = train_pool(leaf, gate)
    grad, = torch.autograd.grad(out.sum(), leaf)
    assert rate_of(x, gate) == rate
    assert grad.isfinite().all() and bool(out.any()) == (rate == 0)


def test_gradients_with_the_channels_kept(device):
    x, gate = features(device=device).requires_grad_(), GATE.double().to(device).requires_grad_()

    rate = rate_of(x, gate)
    torch.manual_seed(0)
    out = train_pool(x, gate, vector=True)
    weight = torch.randn_like(out)
    grads = torch.autograd.grad(out, (x, gate), weight)
    weights = channel_weights(x.flatten(2), None, gate)
    torch.manual_seed(0)
    kept = (torch.rand_like(weights) >= rate) / (1 - rate)  # a constant for the derivatives
    expected = covariance_pool(x * ((1 + weights) * kept)[..., None], 'covariance', vector=True)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(grads, torch.autograd.grad(expected, (x, gate), weight))
    assert grads[1].all()


def test_module_trains_the_gate_and_drops_only_while_training(device):
    module, x = CovariancePooling(32, 'dropcov').to(device), features(device=device, dtype=torch.float32)
    assert list(dict(module.named_parameters())) == list(module.state_dict()) == ['gate']
    module.load_state_dict({'gate': GATE})
    torch.manual_seed(0)
    first = module(x)
    torch.manual_seed(0)
    assert torch.equal(module(x), first) and not torch.equal(module(x), first)
    first.square().sum().backward()
    assert module.gate.grad.all()
    assert torch.equal(module.eval()(x), covariance_pool(x, 'covariance', vector=True))


def test_gate_is_drawn_as_a_convolution_of_pytorch(device):
    drawn = [draw_gate(torch.Generator().manual_seed(0)) for _ in range(2)]
    assert torch.equal(*drawn)
    torch.manual_seed(1)
    module = CovariancePooling(8, 'dropcov')
    torch.manual_seed(1)
    assert torch.equal(module.gate, torch.nn.Conv1d(1, 1, 3, padding=1, bias=False).weight.flatten())
    with pytest.raises(ValueError, match="method='dropcov' needs a gate in training: draw it once by mmgcp.ops.draw_"):
        covariance_pool(torch.rand(2, 8, 3, 3, device=device), 'dropcov', training=True)


def test_autocast_changes_nothing(device):
    x, gate = (t.requires_grad_() for t in (features(device=device, dtype=torch.float32), GATE.clone()))
    results = []
    for enabled in (False, True):
        torch.manual_seed(0)
        with torch.autocast(device.type, torch.bfloat16, enabled=enabled):
            out = train_pool(x, gate.to(device))
            grads = torch.autograd.grad(out.sin().sum(), (x, gate), create_graph=True)
            results.append((out, grads, torch.autograd.grad(grads[0].sin().sum(), (x, gate))))
    torch.testing.assert_close(results[1], results[0])


def test_images_that_tell_nothing_do_not_count_for_the_rate(device):
    x = features(4, device=device, dtype=torch.float32)
    x[1, 2, 0, 1], x[2] = torch.nan, 3.
    leaf = x.clone().requires_grad_()
    out = train_pool(leaf)
    grad, = torch.autograd.grad(out.sum(), leaf)
    assert out[1].isnan().any() and not out[2].any() and not grad[2].any()
    assert out[::3].isfinite().all() and grad[::3].isfinite().all()
    assert rate_of(x) == rate_of(x[::3]) > 0
    assert train_pool(x[:0]).shape == (0, 32, 32) and train_pool(x[:, :1]).isfinite().any()


@pytest.mark.parametrize('scale', [1e-30, 1e-12, 1e10])
def test_scale_leaves_finite_numbers(scale, device):
    x = (scale * features(device=device, dtype=torch.float32)).requires_grad_()
    out = train_pool(x)
    grad, = torch.autograd.grad(out.sum(), x)
    assert out.isfinite().all() and grad.isfinite().all()
    assert rate_of(x) == pytest.approx(rate_of(x.double()), abs=1e-5)


def test_padding_does_not_count(device):
    x, mask = features(side=3, device=device), torch.ones(2, 3, 3, dtype=torch.bool, device=device)
    mask[..., 2] = False
    results = []
    for part, mask_ in ((x[..., :2], None), (x.masked_fill(~mask[:, None], torch.nan), mask)):
        torch.manual_seed(0)
        results.append(train_pool(part, mask=mask_))
    torch.testing.assert_close(*results)


def test_compiled_it_is_the_same(device):
    torch._dynamo.reset()
    x, gate = features(device=device), GATE.to(device)
    compiled = torch.compile(lambda x: train_pool(x, gate), fullgraph=True, backend='aot_eager')
    torch.manual_seed(0)
    expected = train_pool(x, gate)
    torch.manual_seed(0)
    torch.testing.assert_close(compiled(x), expected)


def test_a_gate_of_another_width():
    with pytest.raises(ValueError, match=r'the gate has the shape \(5,\), not \(3, \): draw it by draw_gate'):
        covariance_pool(torch.rand(2, 8, 3, 3), 'dropcov', gate=(torch.ones(5), ), training=True)
