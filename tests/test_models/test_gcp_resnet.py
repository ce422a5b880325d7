import pytest
import torch
from mmengine.registry import MODELS
from mmpretrain.models.backbones import ResNet
from torch import nn

from mmgcp.models import AlexNet, GCPResNet
from mmgcp.utils.errors import SetupError

VARIANTS = ['none', 'stride', 'max_pool']


def small(conv5_downsample, **kwargs):
    """Narrow ResNet-18 with the structure of the real one."""
    return in_mode(GCPResNet(18, conv5_downsample, stem_channels=8, base_channels=8, **kwargs), training=False)


def in_mode(network, training):
    """The network, in place of the None that train() of MMPretrain's networks returns."""
    network.train(training)
    return network


def test_setting_the_mode_returns_the_network():
    backbone = GCPResNet(18, stem_channels=8, base_channels=8, norm_eval=True)
    assert backbone.eval() is backbone and not backbone.training
    assert backbone.train() is backbone and backbone.training and not backbone.bn1.training
    alexnet = AlexNet()
    assert alexnet.eval() is alexnet and not alexnet.training


@pytest.mark.parametrize('avg_down', [False, True])
@pytest.mark.parametrize('depth', [18, 34, 50, 101, 152])
def test_all_variants_have_the_parameters_of_resnet(depth, avg_down):
    narrow = dict(stem_channels=8, base_channels=8, avg_down=avg_down)
    expected = {name: tuple(value.shape) for name, value in ResNet(depth, **narrow).state_dict().items()}
    for variant in VARIANTS:
        backbone = GCPResNet(depth, variant, **narrow)
        assert {name: tuple(value.shape) for name, value in backbone.state_dict().items()} == expected


@pytest.mark.parametrize('size, expected', [((224, 224), {'none': (14, 14), 'stride': (7, 7), 'max_pool': (7, 7)}),
                                            ((100, 130), {'none': (7, 9), 'stride': (4, 5), 'max_pool': (4, 5)})])
def test_resolution_of_conv5(size, expected, device):
    for variant, resolution in expected.items():
        out, = small(variant).to(device)(torch.rand(1, 3, *size, device=device))
        assert tuple(out.shape) == (1, 64, *resolution)


def test_values_of_the_variants_from_their_parts(device):
    x = torch.rand(2, 3, 64, 96, device=device)
    networks = {variant: small(variant, out_indices=(2, 3)).to(device) for variant in VARIANTS}
    for network in networks.values():
        network.load_state_dict(networks['none'].state_dict())
    plain = in_mode(ResNet(18, stem_channels=8, base_channels=8, out_indices=(2, 3)), training=False).to(device)
    plain.load_state_dict(networks['none'].state_dict())
    torch.testing.assert_close(networks['stride'](x), plain(x))

    conv4, conv5 = networks['none'](x)
    pooled = nn.MaxPool2d(3, 2, 1)(conv4)
    torch.testing.assert_close(networks['max_pool'](x), (conv4, networks['none'].layer4(pooled)))
    assert conv5.shape[-2:] == conv4.shape[-2:]


def test_gradients_reach_every_parameter(device):
    for variant in VARIANTS:
        network = in_mode(small(variant), training=True).to(device)
        network(torch.rand(2, 3, 64, 64, device=device))[0].square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_checkpointing_does_not_change_values_or_gradients(device):
    x = torch.rand(2, 3, 64, 64, device=device)
    plain, saving = (in_mode(small('max_pool', with_cp=with_cp), training=True).to(device) for with_cp in (False, True))
    saving.load_state_dict(plain.state_dict())
    outs = [network(x)[0] for network in (plain, saving)]
    torch.testing.assert_close(*outs)
    for out in outs:
        out.square().mean().backward()
    for a, b in zip(plain.parameters(), saving.parameters(), strict=False):
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize('variant', VARIANTS)
def test_frozen_stages_and_norm_eval_as_in_resnet(variant):
    network = in_mode(small(variant, frozen_stages=1, norm_eval=True, out_indices=(0, 1, 2, 3)), training=True)
    trained = {name.split('.')[0] for name, p in network.named_parameters() if p.requires_grad}
    assert trained == {'layer2', 'layer3', 'layer4'}
    assert not any(m.training for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    assert [tuple(out.shape[1:]) for out in network(torch.rand(1, 3, 64, 64))][:3] == [
        (8, 16, 16), (16, 8, 8), (32, 4, 4)]


def test_any_variant_starts_from_any_checkpoint(tmp_path):
    source = small('none')
    path = tmp_path / 'classifier.pth'
    torch.save(dict(state_dict={f'backbone.{k}': v for k, v in source.state_dict().items()}
                    | {'head.fc.weight': torch.rand(2, 3)}), path)
    for variant in VARIANTS:
        network = small(variant, init_cfg=dict(type='Pretrained', checkpoint=str(path), prefix='backbone.'))
        network.init_weights()
        assert all(torch.equal(v, source.state_dict()[k]) for k, v in network.state_dict().items())


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path):
    path = str(tmp_path / 'other.pth')
    init_cfg = dict(type='Pretrained', checkpoint=path)
    torch.save(GCPResNet(18, 'none', stem_channels=8, base_channels=16).state_dict(), path)
    with pytest.raises(SetupError, match=r'does not fit GCPResNet: 0 of .* missing and \d+ have another shape'):
        small('none', init_cfg=init_cfg).init_weights()
    torch.save({'conv1.weight': torch.rand(8, 3, 7, 7)}, path)
    with pytest.raises(SetupError, match='bn1.weight is missing'):
        small('none', init_cfg=init_cfg).init_weights()


def test_unknown_downsampling():
    with pytest.raises(ValueError, match="conv5_downsample='avg' is unknown: choose one of none, stride, max_pool"):
        MODELS.build(dict(type='mmgcp.GCPResNet', depth=18, conv5_downsample='avg'))
