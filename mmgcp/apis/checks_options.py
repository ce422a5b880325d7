"""Check that the settings of the command line and of the optimizer have an effect."""
import difflib
import inspect
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from mmengine.config import Config
from mmengine.registry import OPTIMIZERS
from mmengine.runner import Runner
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from mmgcp.datasets.class_folders import some
from mmgcp.utils.errors import SetupError

# Top-level settings of a config that MMEngine and the tools read.
_READ = {'auto_scale_lr', 'compile', 'custom_imports', 'default_scope', 'efficient_conv_bn_eval',
         'find_unused_parameters', 'model_wrapper_cfg', 'runner_type', 'strategy', 'sync_bn', 'tta_model',
         'tta_pipeline', *inspect.signature(Runner).parameters} - {'cfg'}
# What MMEngine reads of settings whose other keys it ignores.
_READ_OF = {'auto_scale_lr': ('enable', 'base_batch_size'),
            'env_cfg': ('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit')}
# What MMEngine's DefaultOptimWrapperConstructor reads.
_PARAMWISE = ('custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'flat_decay_mult',
              'dwconv_decay_mult', 'dcn_offset_lr_mult', 'bypass_duplicate')


def check_options(cfg: Config, options: Mapping) -> None:
    """Reject settings, by dotted name, that nothing reads, or whose values the config has already put elsewhere."""
    for option, value in options.items():
        name, *inner = option.split('.')
        if name in _READ:
            check_names(name, inner[:1], _READ_OF.get(name, inner))
            continue
        if name not in cfg:
            raise SetupError(f'--cfg-options {option}={value} changes nothing, as nothing reads {name}'
                             f'{_nearest(name, [*_READ, *cfg])}')
        # Short values may be equal by chance.
        is_long = isinstance(cfg[name], (list, tuple, Mapping)) and len(cfg[name]) > 0
        places = [place for place, key, found in _settings(cfg) if key == name or (is_long and found == cfg[name])]
        if not places and not _is_used(name, cfg.text):
            continue  # code of the user may read it, such as a hook
        raise SetupError(f'--cfg-options {option}={value} changes nothing, as {name} is a variable of the config, '
                         'whose value it has already put elsewhere: set '
                         f'{", ".join(places) or "the settings that have it"}')


def check_optimizer(cfg: Config, model: nn.Module) -> list[str]:
    """Reject settings that MMEngine would ignore or fail on at the first step; note those that match no parameter."""
    wrapper = cfg.optim_wrapper
    if isinstance(wrapper.get('clip_grad'), dict):
        clip = dict(wrapper.clip_grad)
        function = clip_grad_value_ if clip.pop('type', 'norm') == 'value' else clip_grad_norm_
        try:
            inspect.signature(function).bind([], **clip)
        except TypeError as error:
            raise SetupError(f'optim_wrapper.clip_grad={clip} does not fit {function.__name__}: {error}') from error
    if wrapper.get('constructor', 'DefaultOptimWrapperConstructor') != 'DefaultOptimWrapperConstructor':
        return []
    optimizer, paramwise = wrapper.optimizer.get('type'), wrapper.get('paramwise_cfg') or {}
    if isinstance(optimizer, str):
        with OPTIMIZERS.switch_scope_and_registry(None) as registry:
            optimizer = registry.get(optimizer)
        if optimizer is None:
            check_names('optim_wrapper.optimizer.type', [wrapper.optimizer.type], OPTIMIZERS.module_dict, 'optimizer')
    keys = paramwise.get('custom_keys') or {} if isinstance(paramwise, dict) else None
    if optimizer is None or not isinstance(keys, dict) or not all(isinstance(value, dict) for value in keys.values()):
        return []  # MMEngine reports what is wrong
    check_names('optim_wrapper.paramwise_cfg', paramwise, _PARAMWISE)
    for key, settings in keys.items():
        known = ('lr_mult', 'decay_mult', *inspect.signature(optimizer).parameters)
        check_names(f"optim_wrapper.paramwise_cfg.custom_keys['{key}']", settings, known)
    idle = [key for key in keys if not any(key in name for name, _ in model.named_parameters())]
    return [f'optim_wrapper.paramwise_cfg.custom_keys has no effect for {some(idle)}, as no name of a parameter of the '
            'network contains it'] if idle else []


def check_names(where: str, names: Iterable[str], known: Collection[str], what: str = 'setting') -> None:
    """Raise a SetupError for names that are not ``known`` at a place in the config."""
    for name in names:
        if name not in known:
            raise SetupError(f'{where} has no {what} {name}{_nearest(name, known)}')


def _nearest(name: str, known: Iterable[str]) -> str:
    names = difflib.get_close_matches(name, known, n=1)
    return f': the nearest name is {names[0]}' if names else ''


def _is_used(name: str, text: str) -> bool:
    """Whether a config uses a name other than to set it, or as the name of an argument."""
    return bool(re.search(rf'\b{re.escape(name)}\b(?!\s*=(?!=))', re.sub('#.*', '', text)))


def _settings(node: Config | Mapping | Sequence, where: str = '') -> Iterator[tuple[str, str | int, object]]:
    """Yield place, last key and value of all settings that are read."""
    for key, value in enumerate(node) if isinstance(node, (list, tuple)) else node.items():
        if where or key in _READ:
            yield f'{where}{key}', key, value
            if isinstance(value, (list, tuple, Mapping)):
                yield from _settings(value, f'{where}{key}.')
