"""Families of networks in the zoo, and the names of their tensors in torchvision and in MMPretrain.

ResNets have the same names in both. In MobileNetV2 and ShuffleNetV2, torchvision numbers the layers consecutively,
while MMPretrain has stages of blocks of ``ConvModule``s, each with a ``conv`` and a ``bn``.
"""
import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

from mmpretrain.models.backbones import MobileNetV2, ResNet
from mmpretrain.models.backbones.resnet import Bottleneck


class Family(NamedTuple):
    """Networks of one design. All but the first two fields are for conversion from and to torchvision."""
    title: str  # in messages and, before GAP or GCP, of the collections
    networks: Mapping[str, str]  # torchvision's function or, if there is none, '' by the first part of configs' names
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


def _conv_bn(conv: str, bn: str, conv_module: str) -> dict[str, str]:
    return {conv: f'{conv_module}.conv', bn: f'{conv_module}.bn'}


def _mobilenetv2() -> dict[str, str]:
    names = _conv_bn('features.0.0', 'features.0.1', 'conv1')
    blocks = [(f'layer{stage}.{block}.conv', 1 if expand_ratio == 1 else 2)
              for stage, (expand_ratio, _, number, _) in enumerate(MobileNetV2.arch_settings, 1)
              for block in range(number)]
    for index, (block, last) in enumerate(blocks, 1):
        feature = f'features.{index}.conv'
        for i in range(last):
            names |= _conv_bn(f'{feature}.{i}.0', f'{feature}.{i}.1', f'{block}.{i}')
        # The last convolution has no activation, so torchvision does not wrap it.
        names |= _conv_bn(f'{feature}.{last}', f'{feature}.{last + 1}', f'{block}.{last}')
    return names | _conv_bn(f'features.{len(blocks) + 1}.0', f'features.{len(blocks) + 1}.1', 'conv2')


def _shufflenetv2() -> dict[str, str]:
    names = _conv_bn('conv1.0', 'conv1.1', 'conv1') | _conv_bn('conv5.0', 'conv5.1', 'layers.3')
    for stage, number in enumerate((4, 8, 4)):
        for block in range(number):
            # Indices of the convolutions, each followed by BN and some by an activation.
            branches = {'branch2': (0, 3, 5)} if block else {'branch1': (0, 2), 'branch2': (0, 3, 5)}
            for branch, convs in branches.items():
                source, target = f'stage{stage + 2}.{block}.{branch}', f'layers.{stage}.{block}.{branch}'
                for i, conv in enumerate(convs):
                    names |= _conv_bn(f'{source}.{conv}', f'{source}.{conv + 1}', f'{target}.{i}')
    return names


FAMILIES = (
    Family('ResNet', {f'resnet{depth}': f'resnet{depth}' for depth in (18, 34, 50, 101, 152)},
           ('layer1.0.conv1.weight', )),
    Family('MobileNetV2', {'mobilenetv2': 'mobilenet_v2'},
           ('features.1.conv.0.0.weight', 'layer1.0.conv.0.conv.weight'), _mobilenetv2()),
    Family('ShuffleNetV2', {'shufflenetv2': 'shufflenet_v2_x1_0'},
           ('stage2.0.branch1.0.weight', 'layers.0.0.branch1.0.conv.weight'), _shufflenetv2()),
)
*_FIRST, _LAST = (family.title for family in FAMILIES if family.landmarks)
CONVERTIBLE = f"{', '.join(_FIRST)} or {_LAST}"  # for messages
