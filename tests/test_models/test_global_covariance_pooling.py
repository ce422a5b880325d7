import pytest
import torch
from mmengine.registry import MODELS

from mmgcp.models import GlobalCovariancePooling
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


def test_relu6_as_in_mobilenet():
    neck = build(act_cfg=dict(type='ReLU6'))
    assert isinstance(neck.reduction.activate, torch.nn.ReLU6)


@pytest.mark.parametrize('arguments, message', [
    (dict(reduced_channels=0), 'reduced_channels=0 must be'),
    (dict(in_channels=0), 'in_channels=0 must be'),
    (dict(method='log'), "method='log' is unknown"),
    (dict(num_iters=0), 'num_iters=0 must be'),
])
def test_wrong_settings(arguments, message):
    with pytest.raises(ValueError, match=message):
        GlobalCovariancePooling(**{'in_channels': 8, **arguments})


def test_several_feature_maps_are_refused():
    with pytest.raises(ValueError, match='the backbone gives 2: set its out_indices'):
        build()((torch.rand(1, 6, 4, 4), torch.rand(1, 6, 2, 2)))
