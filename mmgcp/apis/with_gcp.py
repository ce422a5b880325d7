"""Add covariance pooling to the config of any classifier; a dry run finds the necessary changes."""
import copy
import inspect
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import mmpretrain
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmpretrain.models import ImageClassifier
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmgcp.utils.configs import configs_folder, find_configs, nearest_config
from mmgcp.utils.errors import SetupError

from .complexity import blank_image, scope_of, without_weights
from .config_data import kind, require_model

# Heads other than one linear layer: the linear head with the same loss, and the settings that both have.
LINEAR_SETTINGS = ('loss', 'topk', 'cal_acc')
LINEAR_HEADS = {
    **dict.fromkeys(('ClsHead', 'StackedLinearClsHead', 'VigClsHead', 'VisionTransformerClsHead', 'DeiTClsHead',
                     'EfficientFormerClsHead', 'LeViTClsHead'), ('LinearClsHead', LINEAR_SETTINGS)),
    'MultiLabelClsHead': ('MultiLabelLinearClsHead', ('loss', 'thr', 'topk')),
}


class CovarianceNetwork(NamedTuple):
    """A classifier that pools by covariance."""
    cfg: Config
    changes: dict  # to the given config, as an inheriting config writes them
    findings: list[str]  # what was found and changed, a line each


def with_gcp(cfg: Config, method: str = 'newton_schulz', reduced_channels: int | None = None,
             keep_class_token: bool = False) -> CovarianceNetwork:
    r"""Put covariance pooling between the backbone and the classifier of a config.

    A dry run of the backbone on one image, on the CPU and without weights, shows what it returns. A backbone that
    returns an average, a class token or class scores is set to return its feature map. A head that is not one linear
    layer is replaced by one that is, with the same loss. Augmentation and schedule remain.

    Args:
        cfg (Config): Config of an ``ImageClassifier`` of MMPretrain, which is not modified.
        method (str): A name in :data:`mmgcp.ops.METHODS`. Default: ``'newton_schulz'``, the paper's.
        reduced_channels (int, optional): Channels whose covariance is taken. Default: 256, or all if there are fewer.
        keep_class_token (bool): Whether to classify the class token as well, as in So-ViT. Default: False.

    Returns:
        CovarianceNetwork: The new config, its changes, and what was found.

    Raises:
        SetupError: If the config is not a classifier's, pools by covariance already, has a backbone without a feature
            map or a head that is not a linear classifier, or does not fit the settings.

    Examples:
        >>> from mmengine.hub import get_config
        >>> network = with_gcp(get_config('mmpretrain::resnet/resnet18_8xb32_in1k.py'), reduced_channels=64)
        >>> network.changes['model']['head'], network.cfg.model.neck.type
        ({'in_channels': 2080}, 'mmgcp.GlobalCovariancePooling')
        >>> print(*network.findings, sep='\n')
        ResNet returns a map of 512 channels, 7 x 7 pixels
        GlobalCovariancePooling (newton_schulz, 512 to 64 channels) replaces GlobalAveragePooling
        LinearClsHead remains, and reads 2,080 numbers
    """
    with scope_of(cfg):
        _check_classifier(cfg)
        model, new = cfg.model, copy.deepcopy(cfg)
        necks = [model.neck] if isinstance(model.get('neck'), dict) else list(model.get('neck') or ())
        if any(kind(neck) in ('GlobalCovariancePooling', 'FirstAndSecondOrderPooling') for neck in necks):
            raise SetupError('the config pools by covariance already: set method and reduced_channels of its neck')
        backbone = _map_settings(model.backbone, 'raw' if keep_class_token else 'featmap')
        new.merge_from_dict({'model.backbone': copy.deepcopy(backbone)})
        outputs, kept, unused = _dry_run(new, necks, keep_class_token)
        source = ' with '.join(map(kind, (model.backbone, *kept)))
        channels, pixels, text = _layout(outputs[-1], source, model.head.get('in_channels'))
        if len(outputs) > 1:
            if kept or not isinstance(model.backbone.get('out_indices'), Sequence):
                raise SetupError(f'{source} returns {len(outputs)} feature maps, and covariance pooling takes one: set '
                                 'model.backbone.out_indices to the last stage')
            backbone['out_indices'] = [model.backbone.out_indices[-1]]  # the one that heads read
        if pixels == 1 and method != 'gaussian':  # which has the mean as well
            raise SetupError(f'{source} returns {text}, and the covariance of one pixel is zero: take larger images, '
                             'or smaller strides')
        if reduced_channels is None:
            reduced_channels = min(256, channels)
        elif reduced_channels > channels:
            raise SetupError(f'reduced_channels={reduced_channels} is more than the {channels} channels of {source}: '
                             f'take at most {channels}')
        neck = dict(type='mmgcp.GlobalCovariancePooling', in_channels=channels, reduced_channels=reduced_channels)
        if method != 'newton_schulz':
            neck['method'] = method
        head = _linear_head(model, MODELS.build(dict(neck)).out_channels)
        if keep_class_token:
            if 'MultiLabel' in kind(model.head):
                raise SetupError(f'{kind(model.head)} gives an image several labels, and the head that classifies the '
                                 'class token beside the covariance gives it one: leave the class token out')
            extra = getattr(_build(new.model.backbone), 'num_extra_tokens', 1)
            neck.update(type='mmgcp.FirstAndSecondOrderPooling', **dict(num_extra_tokens=extra) if extra > 1 else {})
            same = {key: model.head.to_dict()[key] for key in LINEAR_SETTINGS if key in model.head}
            head = dict(_delete_=True, type='mmgcp.FusionClsHead', num_classes=model.head.num_classes,
                        in_channels=head['in_channels'], first_channels=channels, **same)
    settings = ', '.join(f'{key}={value!r}' for key, value in backbone.get('module', backbone).items())
    replaced = ' and '.join(map(kind, necks[len(kept):]))
    findings = [
        f'{source}{settings and f", with {settings},"} returns {text}',
        f'{kind(neck)} ({method}, {channels} to {reduced_channels} channels) '
        + (f'replaces {replaced}' if replaced else 'is added'),
        (f'{head["type"]} with the same loss replaces {kind(model.head)}' if 'type' in head else
         f'{kind(model.head)} remains') + f', and reads {head["in_channels"]:,} numbers',
    ]
    if kept:
        neck = [*kept, neck]
    elif 'neck' in model:
        neck = dict(_delete_=True, **neck)
    changes = dict(backbone=backbone, neck=neck, head=head) if backbone else dict(neck=neck, head=head)
    new.merge_from_dict({'model': copy.deepcopy(changes)})  # removes _delete_ from its argument
    changes = dict(model=changes)
    if unused and not cfg.get('find_unused_parameters'):
        changes['find_unused_parameters'] = new.find_unused_parameters = True
        findings.append(f'{unused} weight tensors of {kind(model.backbone)} do not enter the features: '
                        'find_unused_parameters=True lets several GPUs train the others')
    return CovarianceNetwork(new, changes, findings)


def _class(part: dict) -> type | None:
    with MODELS.switch_scope_and_registry(None) as registry:
        return registry.get(part['type']) if isinstance(part['type'], str) else part['type']


def _check_classifier(cfg: Config) -> None:
    require_model(cfg)
    model = _class(cfg.model)
    if model is None or not issubclass(model, ImageClassifier):
        raise SetupError(f'the model of the config is {kind(cfg.model)}, no classifier: only an ImageClassifier of '
                         'MMPretrain has the backbone, neck and head that covariance pooling goes between')
    if not cfg.model.get('head'):
        raise SetupError('the model of the config has no head, and so no classes: add a LinearClsHead in a config that '
                         'inherits from it')


def _map_settings(backbone: dict, out_type: str) -> dict:
    """Return the settings for a backbone to return its feature map, or all tokens for ``out_type='raw'``."""
    if isinstance(backbone.get('module'), dict):  # LoRAModel
        settings = _map_settings(backbone['module'], out_type)
        return dict(module=settings) if settings else {}
    settings, defaults = {}, {}
    for base in reversed(inspect.getmro(_class(backbone) or object)):
        defaults.update((name, parameter.default) for name, parameter in inspect.signature(base).parameters.items())
    if 'out_type' in defaults:
        settings = dict(out_type=out_type)
    elif 'gap_before_final_norm' in defaults:
        settings = dict(gap_before_final_norm=False)
    elif defaults.get('num_classes') == -1:  # VGG
        settings = dict(num_classes=-1)
    return {key: value for key, value in settings.items() if backbone.get(key, defaults[key]) != value}


def _build(part: dict) -> nn.Module:
    """Build a part in test mode, without weights."""
    try:
        module = MODELS.build(without_weights(part))
    except Exception as error:
        raise SetupError(f'{kind(part)} cannot be built from the config: {type(error).__name__}: {error}') from error
    module.eval()  # returns None in MMPretrain's backbones
    return module


def _dry_run(cfg: Config, necks: list[dict], keep_class_token: bool) -> tuple[Sequence[Tensor], list[dict], int]:
    """Run the backbone and the first necks, until one pools, on one image; return the outputs and these necks.

    The number is that of the backbone's weight tensors that get no gradient from the last output.
    """
    image, backbone = blank_image(cfg), _build(cfg.model.backbone)
    if keep_class_token and getattr(backbone, 'cls_token', None) is None:
        raise SetupError(f'{kind(cfg.model.backbone)} has no class token to keep')
    try:
        outputs = backbone(image)
    except Exception as error:
        raise SetupError(f'{kind(cfg.model.backbone)} cannot be run on an image of {tuple(image.shape[1:])}: '
                         f'{type(error).__name__}: {error}') from error
    outputs = outputs if isinstance(outputs, Sequence) else (outputs, )
    kept = []
    for neck in necks:
        try:
            pooled = _build(neck)(outputs)
        except Exception:  # it expects the vectors that the backbone no longer returns
            break
        pooled = pooled if isinstance(pooled, Sequence) else (pooled, )
        if not all(map(_is_map, pooled)):
            break
        outputs = pooled
        kept.append(neck.to_dict())
    if isinstance(outputs[-1], Tensor) and outputs[-1].requires_grad:
        outputs[-1].sum().backward()
        if _without_gradient(backbone):  # perhaps in evaluation alone, as the attention biases of LeViT
            for module in backbone.modules():
                module.training = not isinstance(module, _BatchNorm)  # which one image may not suffice for
            with suppress(Exception):  # what cannot be run counts as before
                trained = backbone(image)
                (trained[-1] if isinstance(trained, Sequence) else trained).sum().backward()
    return outputs, kept, _without_gradient(backbone)


def _without_gradient(module: nn.Module) -> int:
    return sum(weight.requires_grad and weight.grad is None for weight in module.parameters())


def _is_map(output) -> bool:
    return isinstance(output, Tensor) and output.dim() in (3, 4)


def _layout(output: Tensor, source: str, expected: int | None) -> tuple[int, int, str]:
    """Return channels, pixels and a description of features; ``expected`` are the classifier's input channels."""
    if not _is_map(output):
        found = f'shape {tuple(output.shape[1:])}' if isinstance(output, Tensor) else f'type {type(output).__name__}'
        raise SetupError(f'{source} returns no feature map or tokens but an output of {found} per image, and has no '
                         'setting known to change that')
    shape = output.shape[1:]
    if len(shape) == 2:
        if shape[0] == shape[1]:
            raise SetupError(f'{source} returns as many tokens as channels, {shape[0]}, so that their order is '
                             'unknown: take images of another size')
        tokens, channels = shape if shape[0] != expected else reversed(shape)
        return channels, tokens, f'{tokens} tokens of {channels} channels'
    channels, height, width = shape
    if channels != expected == width:
        raise SetupError(f'{source} returns a map of {tuple(shape)} whose channels come last: permute them in a '
                         'backbone of your own')
    return channels, height * width, f'a map of {channels} channels, {height} x {width} pixels'


def _linear_head(model: dict, width: int) -> dict:
    """Return the changes that turn the head into one linear layer with ``width`` inputs."""
    head = model['head']
    with torch.device('meta'):
        layers = [layer for layer in _build(head).modules() if isinstance(layer, nn.Linear)]
    if len(layers) == 1 and layers[0].in_features == head.get('in_channels'):
        return dict(in_channels=width)
    name, settings = LINEAR_HEADS.get(kind(head), (None, ()))
    classes = head.get('num_classes', model['backbone'].get('num_classes'))
    if name is None or classes is None:
        raise SetupError(f'the head {kind(head)} is no linear classifier, and none is known that would be trained in '
                         'the same way: set a LinearClsHead')
    same = {key: head.to_dict()[key] for key in settings if key in head}
    return dict(_delete_=True, type=name, num_classes=classes, in_channels=width, **same)


def find_config(name: str) -> tuple[str, Path]:
    """Find a config by path or as ``mmpretrain::NAME`` or ``mmgcp::NAME``, with or without folders and ``.py``.

    Returns:
        tuple[str, Path]: The ``_base_`` for a config in any folder that inherits from it, and its path.

    Raises:
        SetupError: If there is no such config, or it is one with Python imports, which ``_base_`` cannot name.

    Examples:
        >>> find_config('mmpretrain::resnet18_8xb32_in1k')[0]
        'mmpretrain::resnet/resnet18_8xb32_in1k.py'
    """
    folders = {'mmpretrain': Path(mmpretrain.__file__).resolve().parent / '.mim/configs', 'mmgcp': configs_folder()}
    package, separator, rest = name.rpartition('::')
    if not separator:
        path = Path(name).resolve()
        if not path.is_file():
            raise SetupError(f'the config {name} does not exist{nearest_config(name)}')
    elif package not in folders:
        raise SetupError(f'the config {name} is of the package {package}, which is neither mmpretrain nor mmgcp')
    else:
        folder, file = folders[package], rest.removesuffix('.py') + '.py'
        found = [folder / file] if (folder / file).is_file() else find_configs(file, folder)
        if len(found) != 1:
            names = ', '.join(str(path.relative_to(folder)) for path in found)
            raise SetupError(f'{package} has {len(found) or "no"} config{"s" * (len(found) > 1)} {rest}'
                             + (f': name one of {names}' if found else nearest_config(rest, folder)))
        path = found[0]
    if Config._is_lazy_import(str(path)):
        raise SetupError(f'the config {name} has Python imports, and only configs of that kind can inherit from it: '
                         'use mmgcp.apis.with_gcp.with_gcp on its Config')
    for package, folder in folders.items():
        if path.is_relative_to(folder):
            return f'{package}::{path.relative_to(folder)}', path
    return str(path), path


def write_config(base: str, changes: dict, file: str) -> None:
    """Write a config that inherits from ``base``, with the changes of a :class:`CovarianceNetwork`.

    Raises:
        SetupError: If the file exists, or is not called ``.py``.
    """
    path = Path(file)
    if path.suffix != '.py':
        raise SetupError(f'the config to write must be a .py file, not {file}')
    if path.exists():
        raise SetupError(f'{file} exists: delete it, or write another file')
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = ',\n'.join(f'    {key}={_text(value)}' for key, value in changes['model'].items())
    others = ''.join(f'{key} = {_text(value)}\n' for key, value in changes.items() if key != 'model')
    path.write_text(f'# {Path(base).stem} with covariance pooling.\n_base_ = {base!r}\n'
                    f'model = dict(\n{parts})\n{others}')


def _text(value) -> str:
    if isinstance(value, dict):
        return f'dict({", ".join(f"{key}={_text(entry)}" for key, entry in value.items())})'
    return f'[{", ".join(map(_text, value))}]' if isinstance(value, list) else repr(value)
