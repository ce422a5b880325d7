import pytest
import torch

from mmgcp.ops.diagnostics import covariance_diagnostics

from .reference import covariance, isqrt_cov

NAMES = {'effective_rank', 'rank', 'condition_number', 'residual', 'dead_channels', 'pixels', 'pixels_below_channels'}
# (C, H, W): more channels than pixels, as many, fewer
SHAPES = [(12, 2, 3), (9, 3, 3), (5, 4, 3)]


def features(*shape, device, dtype=torch.float64):
    return (torch.randn(*shape, dtype=torch.float64) + 0.5).relu().to(device, dtype)


def plain(image, num_iters=5, zero=1e-12):
    """The same numbers of one image (C, H, W), from their definitions in float64."""
    x = image.double()[None]
    sigma = covariance(x)[0]
    values = torch.linalg.eigvalsh(sigma)
    values = values[values > zero * values.max()]
    p = values / values.sum()
    y = isqrt_cov(x, num_iters)[0]
    channels, pixels = image.shape[0], image[0].numel()
    return dict(
        effective_rank=torch.exp(-(p * p.log()).sum()).item(),
        rank=len(values),
        condition_number=(values.max() / values.min()).item(),
        residual=((y @ y - sigma).norm() / sigma.norm()).item(),
        dead_channels=(x.flatten(2).var(-1) == 0).double().mean().item(),
        pixels=pixels,
        pixels_below_channels=float(pixels < channels))


def assert_equals(values, images, rtol, **kwargs):
    expected = [plain(image, **kwargs) for image in images]
    assert set(values) == NAMES
    for name, value in values.items():
        assert value.shape == (len(images), )
        reference = torch.tensor([e[name] for e in expected], dtype=torch.float64)
        torch.testing.assert_close(value.double().cpu(), reference, rtol=rtol, atol=1e-12,
                                   msg=lambda m, name=name: f'{name}: {m}')


@pytest.mark.parametrize('num_iters', [1, 5, 9])
@pytest.mark.parametrize('shape', SHAPES)
def test_values_are_those_of_the_definitions(shape, num_iters, device):
    x = features(3, *shape, device=device).requires_grad_()
    values = covariance_diagnostics(x, num_iters)
    assert all(value.dtype == torch.float64 and not value.requires_grad for value in values.values())
    assert_equals(values, x.detach().cpu(), 1e-9, num_iters=num_iters)
    assert (values['rank'] == min(shape[0], shape[1] * shape[2] - 1)).all()


def test_tokens_and_memory_formats(device):
    x = features(2, *SHAPES[0], device=device)
    for same in (x.flatten(2).mT.contiguous(), x.contiguous(memory_format=torch.channels_last)):
        assert_equals(covariance_diagnostics(same), x.cpu(), 1e-9)


@pytest.mark.parametrize('dtype, scale', [(torch.float32, 1.), (torch.float32, 1e-30), (torch.float32, 1e30),
                                          (torch.float16, 1e4), (torch.bfloat16, 1.)])
def test_lower_precision_and_any_scale(dtype, scale, device):
    x = (features(3, 32, 4, 5, device=device) * scale).to(dtype)
    with torch.autocast(device.type, torch.bfloat16):
        values = covariance_diagnostics(x)
    assert all(value.dtype == torch.float32 for value in values.values())
    assert_equals(values, x.cpu(), 1e-3, zero=1e-6)


@pytest.mark.parametrize('channels', [3, 40])
def test_a_mask_equals_cropping(channels, device):
    x = features(3, channels, 5, 6, device=device)
    mask = torch.zeros(3, 5, 6, dtype=torch.bool, device=device)
    sizes = [(5, 6), (3, 4), (2, 2)]
    for image, (height, width) in zip(mask, sizes, strict=True):
        image[:height, :width] = True
    x = x.masked_fill(~mask[:, None], torch.nan)
    values = covariance_diagnostics(x, mask=mask)
    assert_equals(values, [image[:, :h, :w].cpu() for image, (h, w) in zip(x, sizes, strict=True)], 1e-9)
    assert values['pixels'].tolist() == [30, 12, 4]


def test_one_direction(device):
    x = torch.randn(1, 1, 3, 4, device=device) * torch.randn(1, 20, 1, 1, device=device)
    values = covariance_diagnostics(x)
    for name in ('effective_rank', 'rank', 'condition_number'):
        torch.testing.assert_close(values[name], torch.ones(1, device=device))
    # The only eigenvalue of S / tr S is 1, which is its own root.
    assert values['residual'] < 1e-5


def test_white_features_use_all_directions(device):
    x = torch.randn(64, 17, dtype=torch.float64)
    x = torch.linalg.qr(x - x.mean(0))[0].mT.reshape(1, 17, 8, 8).to(device)
    values = covariance_diagnostics(x, num_iters=20)
    for name, expected in dict(effective_rank=17, rank=17, condition_number=1, residual=0, dead_channels=0).items():
        assert values[name].item() == pytest.approx(expected, abs=1e-9)


# 0.1 is no binary fraction: its mean, and so its deviation from it, is subject to rounding.
@pytest.mark.parametrize('constant', [0., 0.1, 1e30])
@pytest.mark.parametrize('channels', [4, 100])
def test_no_variance(constant, channels, device):
    x = torch.full((2, channels, 7, 7), constant, device=device)
    mask = torch.zeros(2, 7, 7, dtype=torch.bool, device=device)
    mask[0] = True
    for values, pixels in ((covariance_diagnostics(x), [49, 49]), (covariance_diagnostics(x, mask=mask), [49, 0])):
        expected = dict(effective_rank=0, rank=0, condition_number=1, residual=0, dead_channels=1)
        assert {name: values[name].tolist() for name in expected} == {name: [v] * 2 for name, v in expected.items()}
        assert values['pixels'].tolist() == pixels


def test_dead_channels(device):
    x = features(2, 8, 5, 5, device=device, dtype=torch.float32)
    x[0, :3], x[1, 5] = 0, 0.1
    values = covariance_diagnostics(x)
    assert values['dead_channels'].tolist() == [3 / 8, 1 / 8]
    assert values['rank'].tolist() == [5, 7]
    x[0, :, 0, 0] = 9
    mask = torch.ones(2, 5, 5, dtype=torch.bool, device=device)
    mask[:, 0, 0] = False
    assert covariance_diagnostics(x, mask=mask)['dead_channels'].tolist() == [3 / 8, 1 / 8]


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
@pytest.mark.parametrize('pixels', [1, 25])
def test_features_that_are_not_finite_are_told(value, pixels, device):
    x = features(2, 4, 5, 5, device=device)
    good = covariance_diagnostics(x[1:])
    x[0, 2].view(-1)[:pixels] = value
    for name, numbers in covariance_diagnostics(x).items():
        relative = name in ('effective_rank', 'rank', 'condition_number', 'residual')
        assert numbers[0].isnan() == relative
        torch.testing.assert_close(numbers[1:], good[name])


@pytest.mark.parametrize('num_iters', [0, 2.5])
def test_steps_are_checked(num_iters):
    with pytest.raises(ValueError, match='num_iters=.* at least 1'):
        covariance_diagnostics(torch.rand(1, 2, 3, 3), num_iters)
