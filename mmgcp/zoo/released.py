"""Convert checkpoints released by the paper's authors to checkpoints of the matching configs.

A released file is a dict of ``epoch, arch, state_dict, best_acc1, optimizer``. Its network is recognised by the names
and shapes of the tensors: torchvision's names for the backbone, and the release's own for the reduction after it.
"""
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from mmpretrain.datasets import ImageNet
from torch import Tensor, nn

from mmgcp.ops.triu import triu_size
from mmgcp.registry import MODELS
from mmgcp.utils.checkpoint import tensors_of
from mmgcp.utils.configs import configs_folder
from mmgcp.utils.errors import SetupError
from mmgcp.version import __version__

from .families import CONVERTIBLE, family_of, resnet_blocks

# Names after the backbone, in ResNets and in MobileNetV2 and ShuffleNetV2.
NECK_AND_HEAD = {
    'layer_reduce.': 'neck.reduction.conv.', 'layer_reduce_bn.': 'neck.reduction.bn.',
    'dimension_reduction.0.': 'neck.reduction.conv.', 'dimension_reduction.1.': 'neck.reduction.bn.',
    'fc.': 'head.fc.', 'classifier.1.': 'head.fc.',
}


@dataclass(frozen=True)
class ReleasedNetwork:
    """Network of a released checkpoint.

    The tensors do not show the learning-rate setting (LR_norm, LR_fast, LR_adju), so that ``config`` is the one without
    a suffix. Nor do they show whether a ResNet's conv5 was down-sampled: in the released GCP networks it was not.
    """
    arch: str  # 'resnet18', ..., 'mobilenetv2' or 'shufflenetv2'
    reduced_channels: int | None  # before the covariance; None for a network with GAP
    num_classes: int
    config: str  # of the network, relative to the folder of the configs
    cfg_options: dict  # settings to override in the config, for --cfg-options
    dtypes: tuple[str, ...]  # floating-point types other than float32 in the released file

    def __str__(self) -> str:
        pooling = f'GCP of {self.reduced_channels} channels' if self.reduced_channels else 'GAP'
        return f'{self.arch} with {pooling}, {self.num_classes} classes'

    @property
    def notes(self) -> list[str]:
        """Notes for users of the converted checkpoint, as sentences."""
        notes = []
        if self.dtypes:
            notes.append(f"Numbers in {' and '.join(self.dtypes)} became float32.")
        if self.cfg_options:
            notes.append(f'No config has this size: configs/{self.config} with the settings below has.')
        if self.reduced_channels and self.arch.startswith('resnet'):
            notes.append('Weights do not show whether conv5 was down-sampled: assumed not, as in the released ones.')
        return notes

    def build_model(self) -> nn.Module:
        """Build the network that the converted checkpoint fills."""
        cfg = _read_config(self.config)
        cfg.merge_from_dict(self.cfg_options)
        return MODELS.build(dict(cfg.model, _scope_='mmpretrain'))

    def test_command(self, checkpoint: Path) -> str:
        """Return the command that evaluates the converted checkpoint on 4 GPUs."""
        options = ' '.join(f'{key}={value}' for key, value in self.cfg_options.items())
        return f'tools/dist_test.sh configs/{self.config} {checkpoint} 4' + (options and f' --cfg-options {options}')


def convert(checkpoint: dict, filename: str) -> tuple[dict, ReleasedNetwork]:
    """Convert a released checkpoint to one with exactly the tensors of the matching config.

    The released one, called ``filename`` in messages, may be a bare state dict, with names that begin with ``module.``.
    Returned are ``dict(state_dict=..., meta=...)``, in float32, with origin and config in ``meta``, and its network.

    Raises:
        SetupError: If there are no weights, they are NaN or infinite, or belong to a network that was not released.
    """
    tensors = {name.removeprefix('module.'): value.detach() for name, value in tensors_of(checkpoint).items()}
    if all(value.dim() < 2 for value in tensors.values()):
        raise SetupError(f"{filename} holds no weights: its keys are {', '.join(map(str, checkpoint)) or 'none'}")
    tensors, arch = _rename(tensors, filename)
    network = _recognise(tensors, arch, filename)
    tensors = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    tensors = fitted(tensors, network.build_model().state_dict(), f'{filename} looks like {network}')
    assert_valid(tensors, filename)
    source = {key: checkpoint[key] for key in ('arch', 'epoch', 'best_acc1') if key in checkpoint}
    # Python numbers, so that the checkpoint loads with ``weights_only``.
    source = {key: torch.as_tensor(value).squeeze().tolist() if hasattr(value, 'item') else value
              for key, value in source.items()}
    meta = dict(mmgcp_version=__version__, config_name=network.config, cfg_options=network.cfg_options,
                released=dict(file=Path(filename).name, **source))
    if network.num_classes == len(ImageNet.METAINFO['classes']):
        meta.update(dataset_meta=dict(ImageNet.METAINFO))
    return dict(meta=meta, state_dict=tensors), network


def assert_valid(tensors: dict[str, Tensor], filename: str) -> None:
    """Check that tensors can be the weights and statistics of a trained network.

    Raises:
        SetupError: If a tensor is not finite, a weight or statistic not dense and floating-point, or a variance
            negative.
    """
    for name, value in tensors.items():
        is_weight = name.endswith(('weight', 'bias', 'running_mean', 'running_var'))
        if is_weight and not (value.is_floating_point() and value.layout == torch.strided):
            found = value.dtype if value.layout == torch.strided else value.layout
            raise SetupError(f'{name} in {filename} is of {found}: weights must be dense floating-point numbers; a '
                             'quantised network is to be converted before it is quantised')
    broken = [name for name, value in tensors.items() if not value.isfinite().all()]
    if broken:
        raise SetupError(f'{len(broken)} of {len(tensors)} tensors in {filename} hold NaN or infinity, {broken[0]} for '
                         'one: the training diverged or the file is damaged')
    negative = [name for name, value in tensors.items() if name.endswith('running_var') and (value < 0).any()]
    if negative:
        raise SetupError(f'{len(negative)} variances of BN in {filename} are negative, {negative[0]} for one: the file '
                         'is damaged')


def fitted(tensors: dict[str, Tensor], expected: dict[str, Tensor], subject: str) -> dict[str, Tensor]:
    """Check that tensors are exactly those of a network, and sort them like its state dict ``expected``.

    BN's batch counters, which are missing from old files, become 0.

    Raises:
        SetupError: If tensors are missing, surplus or of another shape. The message begins with ``subject``.
    """
    tensors = {name: torch.tensor(0) for name in expected if name.endswith('.num_batches_tracked')} | tensors
    found = {
        'missing': [name for name in expected if name not in tensors],
        'surplus': [name for name in tensors if name not in expected],
        'of another shape': [f'{name}, {tuple(value.shape)} instead of {tuple(expected[name].shape)},'
                             for name, value in tensors.items()
                             if name in expected and value.shape != expected[name].shape],
    }
    faults = [f'{len(names)} {fault} ({names[0]} for one)' for fault, names in found.items() if names]
    if faults:
        raise SetupError(f"{subject}, but of its tensors {', '.join(faults)}: it was cut, or is another network")
    return {name: tensors[name] for name in expected}


def _rename(tensors, filename):
    """Rename tensors to mmgcp's names, and determine the architecture."""
    family = family_of(tensors)
    if family is None:
        raise SetupError(f'{filename} holds no {CONVERTIBLE} in the names of the released files: its {len(tensors)} '
                         f"tensors are {', '.join(list(tensors)[:3])} ...")
    arch = family.network(tensors)
    if arch is None:
        kind, numbers = resnet_blocks(tensors)
        raise SetupError(f'{filename} holds a ResNet of {numbers} {kind} blocks, which is none of ResNet-18, 34, 50 '
                         'and 101: it was cut, or is another network')
    renamed = {}
    for name, value in tensors.items():
        part = next((part for part in NECK_AND_HEAD if name.startswith(part)), '')
        target = NECK_AND_HEAD[part] + name.removeprefix(part) if part else f'backbone.{family.to_mmpretrain(name)}'
        renamed[target] = value
    return renamed, arch


def _recognise(tensors, arch, filename):
    """Identify the network of these tensors; what they do not show is as in the config."""

    def size(name, default):
        return tensors[name].shape[0] if name in tensors and tensors[name].dim() else default

    pooling = 'gcp' if any(name.startswith('neck.') for name in tensors) else 'gap'
    config = f'{pooling}/{arch}_{pooling}_imagenet.py'
    if not (configs_folder() / config).is_file():
        raise SetupError(f'{filename} holds a {arch}, for which there is no configs/{config}')
    reduced_channels = size('neck.reduction.conv.weight', 256) if pooling == 'gcp' else None
    narrow = config.replace('_gcp_', f'_gcp_{reduced_channels}_')
    if (configs_folder() / narrow).is_file():
        config = narrow
    head, options = _read_config(config).model.head, {}
    num_classes = size('head.fc.weight', head.num_classes)
    if num_classes != head.num_classes:
        options['model.head.num_classes'] = num_classes
    if pooling == 'gcp' and triu_size(reduced_channels) != head.in_channels:
        options['model.head.in_channels'] = triu_size(reduced_channels)
        options['model.neck.reduced_channels'] = reduced_channels
    dtypes = {str(value.dtype).removeprefix('torch.') for value in tensors.values() if value.is_floating_point()}
    return ReleasedNetwork(arch, reduced_channels, num_classes, config, options, tuple(sorted(dtypes - {'float32'})))


def _read_config(config: str) -> Config:
    return Config.fromfile(configs_folder() / config)
