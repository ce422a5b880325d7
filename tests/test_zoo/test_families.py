import pytest
import torch
import torchvision
from mmpretrain.models.backbones import MobileNetV2, ResNet, ShuffleNetV2

from mmgcp.zoo.families import FAMILIES, family_of

BACKBONES = {f'resnet{d}': (f'resnet{d}', lambda depth=d: ResNet(depth)) for d in (18, 34, 50, 101, 152)}
BACKBONES |= {'mobilenetv2': ('mobilenet_v2', MobileNetV2), 'shufflenetv2': ('shufflenet_v2_x1_0', ShuffleNetV2)}


@pytest.fixture(scope='module', params=BACKBONES)
def both(request):
    """Network, names and shapes in torchvision, and in MMPretrain."""
    function, backbone = BACKBONES[request.param]
    with torch.device('meta'):
        theirs = getattr(torchvision.models, function)(weights=None).state_dict()
    theirs = {name: value.shape for name, value in theirs.items() if not name.startswith(('fc.', 'classifier.'))}
    return request.param, theirs, {name: value.shape for name, value in backbone().state_dict().items()}


def test_names_of_the_real_networks(both):
    _, theirs, ours = both
    family = family_of(theirs)
    renamed = {family.to_mmpretrain(name): shape for name, shape in theirs.items()}
    # Both libraries list a network's layers in the order of computation.
    assert list(renamed.items()) == list(ours.items())
    assert [family.to_torchvision(name) for name in ours] == list(theirs)


def test_families_and_networks(both):
    arch, theirs, ours = both
    family = family_of(theirs)
    assert family is family_of(ours) and family.network(theirs) == family.network(ours) == arch
    assert family.networks[arch] == BACKBONES[arch][0]


def test_names_are_one_to_one():
    for family in FAMILIES:
        assert len(set(family.modules.values())) == len(family.modules)


@pytest.mark.parametrize('name', ['vgg16', 'densenet121', 'mobilenet_v3_small', 'alexnet', 'efficientnet_b0'])
def test_other_networks_are_of_no_family(name):
    with torch.device('meta'):
        assert family_of(getattr(torchvision.models, name)(weights=None).state_dict()) is None


def test_blocks_of_no_resnet():
    with torch.device('meta'):
        names = torchvision.models.resnet50(weights=None).state_dict()
    for cut in ('layer4', 'layer3.5'):
        rest = [name for name in names if not name.startswith(cut)]
        assert family_of(rest).network(rest) is None


def test_unknown_names_stay():
    families = {family.title: family for family in FAMILIES}
    assert families['MobileNetV2'].to_mmpretrain('features.30.weight') == 'features.30.weight'
    assert families['ShuffleNetV2'].to_torchvision('extra.0.bn.bias') == 'extra.0.bn.bias'
