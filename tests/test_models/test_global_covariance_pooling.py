import pytest
import torch
from mmengine.registry import MODELS

from mmgcp.models import GCPResNet, GlobalCovariancePooling
from mmgcp.ops import METHODS, covariance_pool
from mmgcp.utils.errors import SetupError
from tests.test_ops.reference import isqrt_cov


def build(**kwargs):
    neck = MODELS.build(dict(type='mmgcp.GlobalCovariancePooling', in_channels=6, reduced_channels=4, **kwargs))
    neck.init_weights()
    return neck


def test_is_reduction_bn_relu_root_and_upper_triangle(device):
    neck = build().double().to(device).train()
    x = torch.randn(3, 6, 5, 4, dtype=torch.float64, device=device)
    reduced = torch.einsum('dc,bchw->bdhw', neck.reduction.conv.weight[:, :, 0, 0], x)
    mean, variance = reduced.mean((0, 2, 3), keepdim=True), reduced.var((0, 2, 3), keepdim=True, unbiased=False)
    root = isqrt_cov(((reduced - mean) / (variance + 1e-5).sqrt()).relu())
    expected = torch.stack([torch.stack([m[i, j] for i in range(4) for j in range(i, 4)]) for m in root])
    torch.testing.assert_close(neck(x), expected)
    out, = neck((x, ))
    torch.testing.assert_close(out, expected)
    assert neck.out_channels == out.shape[1] == 10


def test_published_width_and_parameters():
    neck = GlobalCovariancePooling(2048)
    assert neck.out_channels == 32896
    assert {name: tuple(p.shape) for name, p in neck.named_parameters()} == {
        'reduction.conv.weight': (256, 2048, 1, 1), 'reduction.bn.weight': (256, ), 'reduction.bn.bias': (256, )}


def test_initialised_with_kaiming_fan_out():
    neck = GlobalCovariancePooling(512, 256)
    neck.init_weights()
    assert neck.reduction.conv.weight.std().item() == pytest.approx((2 / 256)**0.5, rel=0.02)
    assert torch.equal(neck.reduction.bn.weight, torch.ones(256))


def test_settings_reach_the_operator(device):
    x = torch.rand(2, 6, 4, 4, device=device)
    outs = [build(**kwargs).to(device) for kwargs in (dict(num_iters=1), dict(num_iters=5), dict(method='eigh'))]
    for neck in outs[1:]:
        neck.load_state_dict(outs[0].state_dict())
    one, five, exact = (neck(x) for neck in outs)
    assert (one - exact).norm() > 2 * (five - exact).norm() > 0


OPTIONS = {
    'covariance': dict(center=False, shrinkage=0.1),
    'newton_schulz': dict(num_iters=3, pre_norm='none'),
    'eigh': dict(side='gram'),
    'power': dict(alpha=0.3),
    'log': dict(shrinkage=0.01),
    'pade': dict(degree=3, num_iters=4),
    'signed_power': dict(alpha=0.7, scale_off_diagonal=True),
    'gaussian': dict(beta=0.3),
    'compact_bilinear': dict(out_channels=64),
}


@pytest.mark.parametrize('method', METHODS)
def test_every_method_trains(method, device):
    neck = build(method=method, **OPTIONS.get(method, {})).to(device).train()
    head = torch.nn.Linear(neck.out_channels, 2).to(device)
    x = torch.rand(4, 6, 5, 4, device=device)
    head(neck(x)).logsumexp(1).sum().backward()
    gradient = neck.reduction.conv.weight.grad
    assert gradient.isfinite().all() and gradient.any()
    neck.eval()
    settings = dict(OPTIONS.get(method, {}))
    if method == 'compact_bilinear':
        settings['sketch'] = (neck.pooling.sketch_hashes, neck.pooling.sketch_signs)
    torch.testing.assert_close(neck(x), covariance_pool(neck.reduction(x), method, vector=True, **settings))


def test_tokens_and_mask(device):
    neck = build().to(device).eval()
    x, mask = torch.rand(2, 6, 3, 4, device=device), torch.rand(2, 3, 4, device=device) < 0.7
    torch.testing.assert_close(neck(x.flatten(2).mT, mask.flatten(1)), neck(x, mask))
    torch.testing.assert_close(neck((x.flatten(2).mT, ))[0], neck(x))
    cropped = neck(x[:1].flatten(2)[..., mask[0].flatten()][..., None])
    torch.testing.assert_close(neck(x, mask)[:1], cropped)


@pytest.mark.parametrize('padding', [0., 5., float('nan')])
@pytest.mark.parametrize('training', [True, False])
def test_what_is_in_the_padding_makes_no_difference(padding, training, device):
    neck = build().double().to(device).train(training)
    x = torch.randn(3, 6, 4, 4, dtype=torch.float64, device=device)
    mask = torch.zeros(3, 4, 4, dtype=torch.bool, device=device)
    mask[:, :3, :2] = True
    cropped = x[:, :, :3, :2].clone().requires_grad_()
    padded = x.masked_fill(~mask[:, None], padding).requires_grad_()
    states = []
    for inputs, given in ((cropped, None), (padded, mask)):
        neck.reduction.bn.reset_running_stats()
        out = neck(inputs, given)
        out.square().sum().backward()
        states.append((out, neck.reduction.bn.running_mean.clone(), neck.reduction.bn.running_var.clone()))
    torch.testing.assert_close(states[0], states[1])
    torch.testing.assert_close(padded.grad[:, :, :3, :2], cropped.grad)
    assert not padded.grad.masked_fill(mask[:, None], 0).any()


@pytest.mark.parametrize('norm_cfg', [None, dict(type='BN'), dict(type='GN', num_groups=2)])
def test_what_is_in_the_padding_changes_no_gradient(norm_cfg, device):
    neck = build(norm_cfg=norm_cfg).double().to(device).train(norm_cfg != dict(type='BN'))  # whose training is above
    x = torch.randn(3, 6, 4, 4, dtype=torch.float64, device=device)
    mask = torch.rand(3, 4, 4, device=device) < 0.6
    found = []
    for padding in (0., 5., float('nan')):
        neck.zero_grad()
        out = neck(x.masked_fill(~mask[:, None], padding), mask)
        out.square().sum().backward()
        found.append((out, [weight.grad.clone() for weight in neck.parameters()]))
    assert found[0][0].any()
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(found[2], found[0])


def test_none_means_no_normalisation_and_no_activation(tmp_path, device):
    plain, published = build(norm_cfg=None, act_cfg=None).to(device), build().to(device)
    assert set(plain.state_dict()) == {'reduction.conv.weight', 'reduction.conv.bias'}
    x = torch.randn(2, 6, 4, 4, device=device)
    torch.testing.assert_close(plain(x), covariance_pool(plain.reduction.conv(x), vector=True))
    assert set(build(act_cfg=None).state_dict()) == set(published.state_dict())
    # A config that said None when it meant BN, with its checkpoint
    with pytest.raises(SetupError, match=r"has BN .* leave norm_cfg out, or set norm_cfg=dict\(type='BN'\)"):
        plain.load_state_dict(published.state_dict(), strict=False)


def test_initialisation_that_the_config_asks_for(tmp_path):
    neck = build(init_cfg=[dict(type='Constant', layer='Conv2d', val=2.), dict(type='Constant', layer='BatchNorm2d',
                                                                              val=3., bias=4.)])
    assert neck.reduction.conv.weight.unique().item() == 2
    assert (neck.reduction.bn.weight.unique().item(), neck.reduction.bn.bias.unique().item()) == (3, 4)
    torch.save(neck.state_dict(), tmp_path / 'neck.pth')
    loaded = build(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'neck.pth')))
    assert loaded.reduction.conv.weight.unique().item() == 2


def test_non_finite_features_can_be_refused(device):
    x = torch.full((2, 6, 3, 3), float('nan'), device=device)
    with pytest.raises(ValueError, match='2 of 2 images have NaN'):
        build(check_finite=True).to(device).eval()(x)


def test_relu6_as_in_mobilenet():
    neck = build(act_cfg=dict(type='ReLU6'))
    assert isinstance(neck.reduction.activate, torch.nn.ReLU6)


@pytest.mark.parametrize('arguments, message', [
    (dict(reduced_channels=0), 'reduced_channels=0 must be'),
    (dict(in_channels=0), 'in_channels=0 must be'),
    (dict(method='sqrtm'), "method='sqrtm' is unknown"),
    (dict(method='log', num_iters=5), "method='log' has no option num_iters"),
    (dict(num_iters=0), 'num_iters=0 must be'),
])
def test_wrong_settings(arguments, message):
    with pytest.raises(ValueError, match=message):
        GlobalCovariancePooling(**{'in_channels': 8, **arguments})


def test_several_feature_maps_are_refused():
    with pytest.raises(ValueError, match='the backbone gives 2: set its out_indices'):
        build()((torch.rand(1, 6, 4, 4), torch.rand(1, 6, 2, 2)))


@pytest.mark.parametrize('shape', [(2, 8, 1, 1), (2, 1, 8)])
def test_one_pixel_has_no_covariance(shape):
    with pytest.raises(SetupError, match='one pixel alone.*images of up to 32 px.*conv5_downsample=.none.'):
        GlobalCovariancePooling(8, 4)(torch.rand(shape))
    assert GlobalCovariancePooling(8, 4, 'gaussian')(torch.rand(shape)).any()
    neck = GlobalCovariancePooling(8, 4, 'covariance', center=False, norm_cfg=None)  # bilinear pooling
    x = torch.rand(2, 8, 1, 1)
    values = neck.reduction(x)[..., 0, 0]
    torch.testing.assert_close(neck(x), torch.stack([values[:, i] * values[:, j]
                                                     for i in range(4) for j in range(i, 4)], 1))


def test_small_images_need_the_stride_of_16():
    neck, images = GlobalCovariancePooling(512, 4), torch.rand(2, 3, 32, 32)
    assert neck(GCPResNet(18, 'none')(images))[0].any()
    with pytest.raises(SetupError, match='one pixel alone'):
        neck(GCPResNet(18, 'max_pool')(images))
