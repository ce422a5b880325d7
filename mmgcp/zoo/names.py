"""Translate names of backbone tensors between torchvision and MMPretrain.

ResNets have the same names in both. In MobileNetV2 and ShuffleNetV2, torchvision numbers the layers consecutively,
while MMPretrain has stages of blocks of ``ConvModule``s, each with a ``conv`` and a ``bn``.
"""
import re
from collections.abc import Collection

from mmpretrain.models.backbones import MobileNetV2, ResNet
from mmpretrain.models.backbones.resnet import Bottleneck

# A tensor that all networks of a family have, and no others: names in torchvision and in MMPretrain.
LANDMARKS = {
    'resnet': ('layer1.0.conv1.weight', 'layer1.0.conv1.weight'),
    'mobilenetv2': ('features.1.conv.0.0.weight', 'layer1.0.conv.0.conv.weight'),
    'shufflenetv2': ('stage2.0.branch1.0.weight', 'layers.0.0.branch1.0.conv.weight'),
}


def family_of(names: Collection[str]) -> str | None:
    """Recognise ``'resnet'``, ``'mobilenetv2'`` or ``'shufflenetv2'`` by a backbone's names in either library."""
    return next((family for family, landmarks in LANDMARKS.items() if any(name in names for name in landmarks)), None)


def resnet_blocks(names: Collection[str]) -> tuple[str, tuple[int, ...]]:
    """Determine the kind (``'basic'`` or ``'bottleneck'``) and number of blocks of a ResNet's four stages."""
    blocks = {tuple(map(int, found.groups())) for found in map(re.compile(r'layer(\d)\.(\d+)\.').match, names) if found}
    kind = 'bottleneck' if 'layer1.0.conv3.weight' in names else 'basic'
    return kind, tuple(sum(stage == number for stage, _ in blocks) for number in (1, 2, 3, 4))


def resnet_depth(names: Collection[str]) -> int | None:
    """Determine the depth of a ResNet, 18, 34, 50, 101 or 152, or None if its blocks match none of these."""
    depths = {('bottleneck' if block is Bottleneck else 'basic', numbers): depth
              for depth, (block, numbers) in ResNet.arch_settings.items()}
    return depths.get(resnet_blocks(names))


def to_mmpretrain(name: str, family: str) -> str:
    """Translate torchvision's name of a tensor to MMPretrain's; unknown names stay the same."""
    return _rename(name, TO_MMPRETRAIN[family])


def to_torchvision(name: str, family: str) -> str:
    """Translate MMPretrain's name of a tensor to torchvision's; unknown names stay the same."""
    return _rename(name, TO_TORCHVISION[family])


def _rename(name: str, modules: dict[str, str]) -> str:
    module, _, tensor = name.rpartition('.')
    return f'{modules.get(module, module)}.{tensor}'


def _conv_bn(conv: str, bn: str, conv_module: str) -> dict[str, str]:
    return {conv: f'{conv_module}.conv', bn: f'{conv_module}.bn'}


def _mobilenetv2() -> dict[str, str]:
    """MMPretrain's names of MobileNetV2's modules by torchvision's."""
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
    """MMPretrain's names of ShuffleNetV2's modules by torchvision's."""
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


TO_MMPRETRAIN = {'resnet': {}, 'mobilenetv2': _mobilenetv2(), 'shufflenetv2': _shufflenetv2()}
TO_TORCHVISION = {family: {ours: theirs for theirs, ours in names.items()} for family, names in TO_MMPRETRAIN.items()}
