"""Reading checkpoints, with a clear word where they are missing, broken or not fitting."""
from pathlib import Path
from urllib.error import URLError

import torch
from mmengine.runner.checkpoint import CheckpointLoader, find_latest_checkpoint, load_from_local
from torch import Tensor, nn

from .configs import configs_folder
from .errors import SetupError

WORKDIR_SCHEME = 'workdir://'


def workdir_checkpoint(name: str) -> str:
    """Path of the last checkpoint that training with config ``name`` left in ``work_dirs/NAME``.

    Args:
        name (str): Name of a config without ``.py``, such as ``resnet50_gcp_m_imagenet``.

    Raises:
        SetupError: If there is none; it names the command that makes it.
    """
    folder = Path('work_dirs') / name
    latest = find_latest_checkpoint(str(folder)) if folder.is_dir() else None
    if latest is None:
        config = next(configs_folder().rglob(f'{name}.py'), None)
        config = f'configs/{config.relative_to(configs_folder())}' if config else f'CONFIG_OF_{name}'
        raise SetupError(f'{folder} holds no checkpoint to start from. Make one with: tools/dist_train.sh {config} 4, '
                         'or name another with --cfg-options model.backbone.init_cfg.checkpoint=FILE (a detector) or '
                         'load_from=FILE (fine-tuning)')
    # The folder may have been moved since the path was written down.
    return str(folder / Path(latest).name)


@CheckpointLoader.register_scheme(prefixes=WORKDIR_SCHEME, force=True)
def load_from_workdir(filename: str, map_location=None) -> dict:
    """Load ``workdir://NAME``, see :func:`workdir_checkpoint`."""
    return load_from_local(workdir_checkpoint(filename[len(WORKDIR_SCHEME):]), map_location)


def load_checkpoint(filename: str) -> dict:
    """All that a checkpoint file holds.

    Args:
        filename (str): File, URL or any scheme of MMEngine, ``workdir://NAME`` among them.

    Returns:
        dict: Contents, tensors on the CPU: a checkpoint with its surroundings, or a bare state dict.

    Raises:
        SetupError: If the file is missing, cannot be read or is no whole checkpoint.
    """
    try:
        checkpoint = CheckpointLoader.load_checkpoint(filename, map_location='cpu', logger=None)
    except SetupError:
        raise
    except FileNotFoundError as error:
        raise SetupError(f'the checkpoint {filename} does not exist') from error
    except (PermissionError, URLError) as error:
        raise SetupError(f'the checkpoint {filename} cannot be read: {error}') from error
    except Exception as error:  # unpickling what was cut off, or is something else, raises anything
        raise SetupError(f'{filename} is no PyTorch checkpoint, or was cut off when written or copied') from error
    if not isinstance(checkpoint, dict):
        raise SetupError(f'{filename} holds a {type(checkpoint).__name__} in place of a dict of tensors: save the '
                         'state_dict() of the network')
    return checkpoint


def tensors_of(checkpoint: dict) -> dict[str, Tensor]:
    """Tensors of the network by name: those of ``state_dict``, or of a bare state dict."""
    state_dict = checkpoint.get('state_dict', checkpoint)
    items = state_dict.items() if isinstance(state_dict, dict) else ()
    return {name: value for name, value in items if isinstance(value, Tensor)}


def classes_of(checkpoint: dict) -> tuple[str, ...]:
    """Names of the classes that a checkpoint was trained on, in the order of its outputs; empty if it has none."""
    meta = checkpoint.get('meta')
    dataset_meta = meta.get('dataset_meta') if isinstance(meta, dict) else None
    return tuple((dataset_meta or {}).get('classes') or ())


def load_state_dict(filename: str) -> dict[str, Tensor]:
    """Tensors of a checkpoint by name, on the CPU: :func:`tensors_of` what :func:`load_checkpoint` gives."""
    return tensors_of(load_checkpoint(filename))


def save_checkpoint(checkpoint: dict, path: Path) -> None:
    """Write a checkpoint, and the folder it goes to.

    Raises:
        SetupError: If it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open('wb') as file:
            torch.save(checkpoint, file)
    except OSError as error:
        raise SetupError(f'{path} cannot be written: {error.strerror}') from error


def under_prefix(state_dict: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors whose names start with ``prefix`` and a dot, by the rest of their names; all, if there is no prefix."""
    prefix = f"{prefix.rstrip('.')}." if prefix else ''
    return {name[len(prefix):]: value for name, value in state_dict.items() if name.startswith(prefix)}


def assert_fits(module: nn.Module, state_dict: dict[str, Tensor], filename: str) -> None:
    """Check that a checkpoint fills every tensor of a module.

    Raises:
        SetupError: If a tensor is missing or of another shape: the checkpoint is of another architecture.
    """
    expected = {name: value.shape for name, value in module.state_dict().items()
                if not name.endswith('num_batches_tracked')}
    missing = [name for name in expected if name not in state_dict]
    misshaped = [name for name in expected if name in state_dict and state_dict[name].shape != expected[name]]
    if missing or misshaped:
        example = (f'{missing[0]} is missing' if missing else
                   f'{misshaped[0]} is {tuple(state_dict[misshaped[0]].shape)}, not {tuple(expected[misshaped[0]])}')
        raise SetupError(f'the checkpoint {filename} does not fit {type(module).__name__}: {len(missing)} of '
                         f'{len(expected)} tensors are missing and {len(misshaped)} have another shape ({example}). It '
                         'belongs to another architecture')
