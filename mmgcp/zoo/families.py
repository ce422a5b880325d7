"""Families of networks in the zoo, and the names of their tensors in torchvision and in MMPretrain.

ResNets have the same names in both. In MobileNetV2 and ShuffleNetV2, torchvision numbers the layers consecutively,
while MMPretrain has stages of blocks of ``ConvModule``s, each with a ``conv`` and a ``bn``. Both list the layers in the
order of computation, which pairs their names.
"""
import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

import torch
import torchvision
from mmpretrain.models.backbones import MobileNetV2, ResNet, ShuffleNetV2
from mmpretrain.models.backbones.resnet import Bottleneck
from torch import nn


class Family(NamedTuple):
    """Networks of one design. All but the first two fields are for conversion from and to torchvision."""
    title: str  # in messages and in names of collections, 'ResNet GCP'
    networks: Mapping[str, str]  # torchvision's function, '' for none, by the first part of config names
    # A tensor that all networks of the family have, and no others: its names in torchvision and in MMPretrain.
    landmarks: tuple[str, ...] = ()
    modules: Mapping[str, str] = {}  # MMPretrain's names by torchvision's, where they differ

    def to_mmpretrain(self, name: str) -> str:
        """Translate torchvision's name of a tensor to MMPretrain's; unknown names stay the same."""
        return _rename(name, self.modules)

    def to_torchvision(self, name: str) -> str:
        """Translate MMPretrain's name of a tensor to torchvision's; unknown names stay the same."""
        return _rename(name, {ours: theirs for theirs, ours in self.modules.items()})

    def network(self, names: Collection[str]) -> str | None:
        """Determine the network by a backbone's names: ``'resnet50'``; None for a ResNet of unknown depth."""
        if self.title != 'ResNet':
            return next(iter(self.networks))
        depths = {('bottleneck' if block is Bottleneck else 'basic', numbers): depth
                  for depth, (block, numbers) in ResNet.arch_settings.items()}
        depth = depths.get(resnet_blocks(names))
        return depth and f'resnet{depth}'


def family_of(names: Collection[str]) -> Family | None:
    """Recognise the family of a backbone by its names in either library."""
    return next((family for family in FAMILIES if any(name in names for name in family.landmarks)), None)


def resnet_blocks(names: Collection[str]) -> tuple[str, tuple[int, ...]]:
    """Determine the kind (``'basic'`` or ``'bottleneck'``) and number of blocks of a ResNet's four stages."""
    blocks = {tuple(map(int, found.groups())) for found in map(re.compile(r'layer(\d)\.(\d+)\.').match, names) if found}
    kind = 'bottleneck' if 'layer1.0.conv3.weight' in names else 'basic'
    return kind, tuple(sum(stage == number for stage, _ in blocks) for number in (1, 2, 3, 4))


def _rename(name: str, modules: Mapping[str, str]) -> str:
    module, _, tensor = name.rpartition('.')
    return f'{modules.get(module, module)}.{tensor}'


def _layers(function: str, backbone: type[nn.Module]) -> dict[str, str]:
    """Map the layer names of a ``function`` of ``torchvision.models`` to MMPretrain's."""
    with torch.device('meta'):
        networks = getattr(torchvision.models, function)(weights=None), backbone()
    names = ([name for name, layer in network.named_modules() if isinstance(layer, (nn.Conv2d, nn.BatchNorm2d))]
             for network in networks)
    return dict(zip(*names, strict=True))


FAMILIES = (
    Family('ResNet', {f'resnet{depth}': f'resnet{depth}' for depth in (18, 34, 50, 101, 152)},
           ('layer1.0.conv1.weight', )),
    Family('MobileNetV2', {'mobilenetv2': 'mobilenet_v2'},
           ('features.1.conv.0.0.weight', 'layer1.0.conv.0.conv.weight'), _layers('mobilenet_v2', MobileNetV2)),
    Family('ShuffleNetV2', {'shufflenetv2': 'shufflenet_v2_x1_0'},
           ('stage2.0.branch1.0.weight', 'layers.0.0.branch1.0.conv.weight'),
           _layers('shufflenet_v2_x1_0', ShuffleNetV2)),
)
*_FIRST, _LAST = (family.title for family in FAMILIES if family.landmarks)
CONVERTIBLE = f"{', '.join(_FIRST)} or {_LAST}"  # for messages
