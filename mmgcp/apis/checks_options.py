"""Are the settings of a command line read by anything?"""
import difflib
import inspect
from collections.abc import Iterator, Mapping, Sequence

from mmengine.config import Config
from mmengine.runner import Runner

from mmgcp.utils.errors import SetupError

# Settings that MMEngine, and the tools, read from the config alone.
_READ = {'auto_scale_lr', 'compile', 'custom_imports', 'default_scope', 'efficient_conv_bn_eval',
         'find_unused_parameters', 'model_wrapper_cfg', 'runner_type', 'strategy', 'sync_bn', 'tta_model',
         'tta_pipeline', *inspect.signature(Runner).parameters} - {'cfg'}


def check_options(cfg: Config, options: Mapping) -> None:
    """Refuse settings, by dotted names, that would change nothing in a config.

    Raises:
        SetupError: If nothing reads a name, or the config has put its value into other settings already.
    """
    for option, value in options.items():
        name = option.partition('.')[0]
        if name in _READ:
            continue
        if name not in cfg:
            nearest = difflib.get_close_matches(name, [*_READ, *cfg], n=1)
            raise SetupError(f'--cfg-options {option}={value} changes nothing, as nothing reads {name}'
                             + (f': the nearest name is {nearest[0]}' if nearest else ''))
        places = [place for place, key, found in _settings(cfg) if key == name or _same(found, cfg[name])]
        if places:
            raise SetupError(f'--cfg-options {option}={value} changes nothing, as the config has already put {name} '
                             f'into other settings: set {", ".join(places)}')


def _settings(node: Config | Mapping | Sequence, where: str = '') -> Iterator[tuple[str, str | int, object]]:
    """Places, last keys and values of all settings that are read."""
    for key, value in enumerate(node) if isinstance(node, (list, tuple)) else node.items():
        if where or key in _READ:
            yield f'{where}{key}', key, value
            if isinstance(value, (list, tuple, Mapping)):
                yield from _settings(value, f'{where}{key}.')


def _same(found: object, value: object) -> bool:
    """Whether one is a copy of the other; short values may be equal by chance."""
    return isinstance(value, (list, tuple, Mapping)) and len(value) > 0 and found == value
