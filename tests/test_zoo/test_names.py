import pytest
import torch
import torchvision
from mmpretrain.models.backbones import MobileNetV2, ResNet, ShuffleNetV2

from mmgcp.zoo.names import TO_MMPRETRAIN, TO_TORCHVISION, family_of, resnet_depth, to_mmpretrain, to_torchvision

BACKBONES = {f'resnet{d}': (f'resnet{d}', lambda depth=d: ResNet(depth)) for d in (18, 34, 50, 101, 152)}
BACKBONES |= {'mobilenetv2': ('mobilenet_v2', MobileNetV2), 'shufflenetv2': ('shufflenet_v2_x1_0', ShuffleNetV2)}


@pytest.fixture(scope='module', params=BACKBONES)
def both(request):
    """Family and depth, names and shapes in torchvision, and in MMPretrain."""
    function, backbone = BACKBONES[request.param]
    with torch.device('meta'):
        theirs = getattr(torchvision.models, function)(weights=None).state_dict()
    theirs = {name: value.shape for name, value in theirs.items() if not name.startswith(('fc.', 'classifier.'))}
    return request.param, theirs, {name: value.shape for name, value in backbone().state_dict().items()}


def test_names_of_the_real_networks(both):
    arch, theirs, ours = both
    family = arch.rstrip('0123456789') if arch.startswith('resnet') else arch
    renamed = {to_mmpretrain(name, family): shape for name, shape in theirs.items()}
    # Both libraries list a network's layers in the order of computation.
    assert list(renamed.items()) == list(ours.items())
    assert [to_torchvision(name, family) for name in ours] == list(theirs)


def test_families_and_depths(both):
    arch, theirs, ours = both
    assert arch.startswith(family_of(theirs)) and arch.startswith(family_of(ours))
    if arch.startswith('resnet'):
        assert arch == f'resnet{resnet_depth(theirs)}'


def test_the_two_ways_are_inverse():
    for family, names in TO_MMPRETRAIN.items():
        assert {ours: theirs for theirs, ours in names.items()} == TO_TORCHVISION[family]
        assert len(TO_TORCHVISION[family]) == len(names)


@pytest.mark.parametrize('name', ['vgg16', 'densenet121', 'mobilenet_v3_small', 'alexnet', 'efficientnet_b0'])
def test_other_networks_are_of_no_family(name):
    with torch.device('meta'):
        assert family_of(getattr(torchvision.models, name)(weights=None).state_dict()) is None


def test_blocks_of_no_resnet():
    with torch.device('meta'):
        names = torchvision.models.resnet50(weights=None).state_dict()
    assert resnet_depth([name for name in names if not name.startswith('layer4')]) is None
    assert resnet_depth([name for name in names if not name.startswith('layer3.5')]) is None


def test_unknown_names_stay():
    assert to_mmpretrain('features.30.weight', 'mobilenetv2') == 'features.30.weight'
    assert to_torchvision('extra.0.bn.bias', 'shufflenetv2') == 'extra.0.bn.bias'
