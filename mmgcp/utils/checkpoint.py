"""Read and write checkpoints, with clear errors if they are missing, broken or do not fit."""
import os
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlparse

import mmengine.runner.checkpoint
import torch
from mmengine.config import Config
from mmengine.fileio import get_file_backend
from mmengine.model import PretrainedInit
from mmengine.runner.checkpoint import CheckpointLoader, find_latest_checkpoint
from torch import Tensor, nn

from . import restricted_pickle
from .configs import configs_folder, find_configs
from .errors import SetupError
from .processes import on_main_process

WORKDIR_SCHEME = 'workdir://'
TRUST = 'MMGCP_TRUST_CHECKPOINTS'
FORCED = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'  # PyTorch's own loader, which refuses MMEngine's checkpoints


def latest_checkpoint(folder: str | Path) -> str | None:
    """Return the path of the last checkpoint that a training left in its work directory; None if there is none."""
    latest = find_latest_checkpoint(str(folder)) if Path(folder).is_dir() else None
    if not latest or '://' in latest:
        return latest or None  # the file last_checkpoint may be empty
    # The folder may have been moved since the path was written down, or CheckpointHook's out_dir be elsewhere.
    moved = Path(folder) / Path(latest).name
    return latest if Path(latest).exists() and not moved.exists() else str(moved)


def settle_resume(cfg: Config) -> None:
    """Decide whether a run resumes, and from which checkpoint; all ranks must call it.

    With ``resume='auto'``, or ``resume=True`` and no ``load_from``, it resumes from the last checkpoint of its work
    directory. Without one, ``resume`` becomes False and ``load_from`` is used, which MMEngine's own tools drop.

    Raises:
        SetupError: If the work directory holds checkpoints of a training but does not say which is the last one.
    """
    if cfg.get('resume') == 'auto' or (cfg.get('resume') is True and not cfg.get('load_from')):
        latest = on_main_process(_checkpoint_to_resume, cfg.work_dir)
        cfg.resume = latest is not None
        cfg.load_from = latest or cfg.get('load_from')


def assert_resumable(checkpoint: dict, filename: str) -> None:
    """Check that a checkpoint, called ``filename``, holds what MMEngine resumes a training from, beside the weights.

    Raises:
        SetupError: If it does not, as those of weights alone.
    """
    lacks = [key for key in ('meta', 'message_hub') if not isinstance(checkpoint.get(key), dict)]
    lacks += [f'meta.{key}' for key in ('epoch', 'iter')
              if 'meta' not in lacks and not isinstance(checkpoint['meta'].get(key), int)]
    if lacks:
        raise SetupError(f'{filename} has no state of a training to resume, as it lacks {" and ".join(lacks)}: to '
                         f'start a new training from its weights, set --cfg-options load_from={filename}, not --resume')


def _checkpoint_to_resume(folder):
    latest = latest_checkpoint(folder)
    saved = sorted((path.name for pattern in ('epoch_*.pth', 'iter_*.pth') for path in Path(folder).glob(pattern)),
                   key=lambda name: (len(name), name))  # epoch_10 after epoch_9
    if saved and not latest:
        raise ValueError(f"{folder} holds {', '.join(saved)}, but last_checkpoint, which says where to resume, is "
                         f'missing or empty: give the checkpoint, as in --resume {folder}/{saved[-1]}, or another work '
                         'directory')
    return latest


def is_pretrained(init_cfg: dict) -> bool:
    """Whether settings of an initialisation load a checkpoint; their type may be a class, or name a scope."""
    kind = init_cfg.get('type')
    return kind is PretrainedInit or str(kind).rpartition('.')[2] == 'Pretrained'


def named_checkpoints(model: object) -> list[str]:
    """Checkpoints that the settings of a model, a dict, name for it or its parts by ``init_cfg`` or ``pretrained``."""
    if isinstance(model, (list, tuple)):
        return [name for part in model for name in named_checkpoints(part)]
    if not isinstance(model, dict):
        return []
    name = model.get('checkpoint' if is_pretrained(model) else 'pretrained')
    return ([name] if isinstance(name, str) else []) + named_checkpoints(list(model.values()))


def workdir_checkpoint(name: str) -> str:
    """Find the last checkpoint in ``work_dirs/NAME``, named like the config without ``.py``, or say how to make it."""
    if Path(name).is_absolute():
        raise SetupError(f'{WORKDIR_SCHEME}{name} must name a folder in work_dirs, without a slash before it')
    folder = Path('work_dirs') / name
    latest = latest_checkpoint(folder)
    if latest is None:
        found = find_configs(f'{name}.py')
        config = f'configs/{found[0].relative_to(configs_folder())}' if found else f'CONFIG_OF_{name}'
        raise SetupError(f'{folder} holds no checkpoint to start from. Make one with: tools/dist_train.sh {config} 4, '
                         'or name another with --cfg-options model.backbone.init_cfg.checkpoint=FILE (a detector) or '
                         'load_from=FILE (fine-tuning)')
    return latest


def resolved(checkpoint: str) -> str:
    """Return the file or URL of a checkpoint, resolving ``workdir://NAME`` by :func:`workdir_checkpoint`."""
    name = checkpoint.removeprefix(WORKDIR_SCHEME)
    return checkpoint if name == checkpoint else workdir_checkpoint(name)


@CheckpointLoader.register_scheme(prefixes=('', WORKDIR_SCHEME), force=True)
def load_from_file(filename: str, map_location=None) -> dict:
    """Load a local file, or ``workdir://NAME``, as data; MMEngine's loader would execute code in a crafted file.

    Data are tensors, arrays, numbers and text. The prefix ``module.`` that DDP adds to all names is removed.
    """
    path = Path(resolved(filename)).expanduser()
    if not path.is_file():
        raise FileNotFoundError(filename)
    return _load_data(path, filename, map_location)


@CheckpointLoader.register_scheme(prefixes=(r'(\S+\:)?s3://', r'(\S+\:)?petrel://'), force=True)
def load_from_storage(filename: str, map_location=None) -> dict:
    """Read a file by MMEngine's backend for object storage, and load it as data."""
    backend = get_file_backend(filename, backend_args=dict(backend='petrel'))
    return _load_data(BytesIO(backend.get(filename)), filename, map_location)


def _load_data(file: Path | BinaryIO, filename: str, map_location) -> dict:
    modules = None if os.environ.get(TRUST) else restricted_pickle
    if os.environ.get(FORCED, '').lower() in ('1', 'y', 'yes', 'true'):
        raise SetupError(f'{filename} cannot be loaded while the environment variable {FORCED} is set: unset it, for '
                         'checkpoints are loaded as data without it')
    try:
        if modules and _is_script(file):
            raise restricted_pickle.ForeignObjectError('TorchScript')
        return _unwrapped(torch.load(file, map_location, modules, weights_only=False))
    except restricted_pickle.ForeignObjectError as error:
        raise SetupError(f'{filename} is more than data: it needs {error}, and loading it may run code. If you trust '
                         f'where it comes from, set the environment variable {TRUST}=1') from error


def _is_script(file: Path | BinaryIO) -> bool:
    """Whether a file is a TorchScript module, which PyTorch would load by other means and may run."""
    with file.open('rb') if isinstance(file, Path) else nullcontext(file) as content:
        if not torch.serialization._is_zipfile(content):
            return False
        with torch.serialization._open_zipfile_reader(content) as reader:
            found = torch.serialization._is_torchscript_zip(reader)
        content.seek(0)
        return found


def _unwrapped(checkpoint):
    """Remove ``module.`` from the tensor names of a checkpoint or bare state dict, if all names have it."""
    state_dict = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, dict) else None
    if not isinstance(state_dict, dict) or not all(str(name).startswith('module.') for name in state_dict):
        return checkpoint
    renamed = under_prefix(state_dict, 'module')
    return renamed if state_dict is checkpoint else {**checkpoint, 'state_dict': renamed}


@CheckpointLoader.register_scheme(prefixes=('http://', 'https://'), force=True)
def load_from_address(filename: str, map_location=None) -> dict:
    """Download a file, unless it is in torch.hub's folder, and load it as data."""
    folder = Path(torch.hub.get_dir(), 'checkpoints')
    path = folder / Path(urlparse(filename).path).name
    if not path.is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Several processes may download at once: each moves a complete file of its own into place.
            torch.hub.download_url_to_file(filename, str(path))
        except OSError as error:  # a full disk, or an address that does not answer
            raise SetupError(f'the checkpoint {filename} cannot be read: {error}') from error
    return load_from_file(str(path), map_location)


# MMEngine's schemes for names of published models, such as torchvision://resnet18, call it by this name.
mmengine.runner.checkpoint.load_from_http = load_from_address


def load_checkpoint(filename: str) -> dict:
    """Load a checkpoint, or bare state dict, to the CPU: a file, a URL or any scheme of MMEngine or mmgcp.

    Raises:
        SetupError: If the file is missing, cannot be read or is not a complete checkpoint.
    """
    try:
        checkpoint = CheckpointLoader.load_checkpoint(filename, map_location='cpu', logger=None)
    except SetupError:
        raise
    except FileNotFoundError as error:
        fault = 'is a folder: name a file in it' if Path(filename).is_dir() else 'does not exist'
        raise SetupError(f'the checkpoint {filename} {fault}') from error
    except (PermissionError, ImportError) as error:  # as of a storage's client
        raise SetupError(f'the checkpoint {filename} cannot be read: {error}') from error
    except Exception as error:  # unpickling truncated or other files may raise anything
        raise SetupError(f'{filename} is not a PyTorch checkpoint, or was cut off when written or copied') from error
    if not isinstance(checkpoint, dict):
        raise SetupError(f'{filename} holds a {type(checkpoint).__name__} instead of a dict of tensors: save the '
                         'state_dict() of the network')
    return checkpoint


def tensors_of(checkpoint: dict) -> dict[str, Tensor]:
    """Return the tensors of the network by name: those of ``state_dict``, or of a bare state dict."""
    tensors = _tensors_in(checkpoint.get('state_dict', checkpoint))
    for name in tensors:
        if not isinstance(name, str):
            raise SetupError(f'the checkpoint has a tensor called {name!r}, and names of tensors must be text: save '
                             'the state_dict() of the network')
    further_down = [key for key, value in checkpoint.items() if _tensors_in(value)]
    if further_down and not tensors:
        raise SetupError(f'the checkpoint has its tensors under {further_down[0]!r}: save what is there in a file of '
                         'its own')
    return tensors


def _tensors_in(state_dict) -> dict:
    items = state_dict.items() if isinstance(state_dict, dict) else ()
    return {name: value for name, value in items if isinstance(value, Tensor)}


def classes_of(checkpoint: dict) -> tuple[str, ...]:
    """Return the names of the classes that a checkpoint was trained on, in output order; empty if it has none."""
    meta = checkpoint.get('meta')
    dataset_meta = meta.get('dataset_meta') if isinstance(meta, dict) else None
    return tuple((dataset_meta or {}).get('classes') or ())


def load_state_dict(filename: str) -> dict[str, Tensor]:
    """Load the tensors of a checkpoint by name, on the CPU."""
    return tensors_of(load_checkpoint(filename))


def save_checkpoint(checkpoint: dict, path: Path) -> None:
    """Write a checkpoint, creating its folder; a write that fails leaves no part of it."""
    part = path.with_name(f'{path.name}.part')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open('wb') as file:
            torch.save(checkpoint, file)
        part.replace(path)
    except (OSError, RuntimeError) as error:  # PyTorch has the latter for a full disk
        if part.is_file():
            part.unlink()
        raise SetupError(f'{path} cannot be written: {getattr(error, "strerror", None) or error}') from error


def under_prefix(state_dict: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Select the tensors whose names start with ``prefix`` and a dot, and strip it; an empty prefix selects all."""
    prefix = f"{prefix.rstrip('.')}." if prefix else ''
    return {name[len(prefix):]: value for name, value in state_dict.items() if name.startswith(prefix)}


def assert_fits(module: nn.Module, state_dict: dict[str, Tensor], filename: str, prefix: str = '') -> None:
    """Check that a checkpoint, called ``filename``, fills every tensor of a module with those under ``prefix``.

    Raises:
        SetupError: If a tensor is missing or of another shape; it says which, and where the tensors are, if anywhere.
    """
    expected, found = _shapes(module.state_dict()), _shapes(under_prefix(state_dict, prefix))
    missing = [name for name in expected if name not in found]
    misshaped = [name for name in expected if name in found and found[name] != expected[name]]
    if missing or misshaped:
        example = (f'{missing[0]} is missing' if missing else
                   f'{misshaped[0]} is {tuple(found[misshaped[0]])}, not {tuple(expected[misshaped[0]])}')
        raise SetupError(f'the checkpoint {filename} does not fit {type(module).__name__}: {len(missing)} of '
                         f'{len(expected)} tensors are missing and {len(misshaped)} have another shape ({example}). '
                         f'{_diagnosis(module, state_dict)}')


def _shapes(state_dict: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in state_dict.items() if not name.endswith('num_batches_tracked')}


def _diagnosis(module: nn.Module, state_dict: dict[str, Tensor]) -> str:
    """Say where a checkpoint has the tensors of a module, or those of one of its parts."""
    shapes = _shapes(state_dict)
    if not shapes:
        return 'It holds no tensors at all'
    for name, part in (('', module), *module.named_children()):
        expected = _shapes(part.state_dict())
        first = next(iter(expected), '')
        for prefix in [key.removesuffix(first) for key in shapes if first and key.endswith(first)]:
            if all(shapes.get(prefix + key) == shape for key, shape in expected.items()):
                place = f"under the prefix '{prefix}'" if prefix else 'without a prefix'
                if name:
                    return f'It holds the {name}, {place}, but not the whole'
                setting = f", prefix='{prefix}'" if prefix else ''  # MMEngine takes an empty prefix for a dot
                return (f'They are there {place}: rename them, or let a backbone load them with '
                        f"init_cfg=dict(type='Pretrained', checkpoint=FILE{setting})")
    return 'It belongs to another architecture'
