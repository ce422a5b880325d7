"""Load the checkpoints and the training data of a finished training, to measure them."""
import copy
import itertools
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner, set_random_seed
from torch import nn

from mmgcp.utils.checkpoint import assert_fits, load_checkpoint, tensors_of
from mmgcp.utils.errors import SetupError, explained

from .checks_images import check_images
from .config_data import default_scope, require_model
from .preflight import check_data


def saved_checkpoints(work_dir: str | Path) -> list[Path]:
    """List the checkpoints in a work directory, ``epoch_N.pth`` or ``iter_N.pth`` with ascending N.

    Raises:
        SetupError: If there are none, or both kinds.
    """
    matches = [re.fullmatch(r'(epoch|iter)_([1-9]\d*)\.pth', path.name) for path in Path(work_dir).glob('*.pth')]
    found = sorted(filter(None, matches), key=lambda match: int(match[2]))
    if len({match[1] for match in found}) > 1:
        raise SetupError(f'{work_dir} holds checkpoints by epoch and by iteration: move one kind away')
    if not found:
        raise SetupError(f'{work_dir} holds no checkpoint (epoch_N.pth or iter_N.pth): give the work directory of a '
                         'training; default_hooks.checkpoint.max_keep_ckpts=-1 keeps all that it saves')
    return [Path(work_dir, match[0]) for match in found]


def unmeasured(checkpoints: Sequence[Path], records: Sequence[dict]) -> list[tuple[Path, int]]:
    """Select the checkpoints without a record of their name and CRC-32; return them with the latter.

    The checksum distinguishes checkpoints of the same name from a repeated training.
    """
    measured = {(record['checkpoint'], record['crc32']) for record in records}
    checksums = [(path, zlib.crc32(path.read_bytes())) for path in checkpoints]
    return [(path, checksum) for path, checksum in checksums if (path.name, checksum) not in measured]


def trained_model(cfg: Config, checkpoint: str | Path) -> tuple[nn.Module, dict]:
    """Build the model of a config with the weights of a checkpoint, in training mode, on the CPU.

    Also returns the checkpoint's ``meta``, with the trained ``epoch`` and ``iter``, or an empty dict.

    Raises:
        SetupError: If there is no model or it cannot be built, or the checkpoint does not fit.
    """
    require_model(cfg)
    init_default_scope(default_scope(cfg))
    loaded = load_checkpoint(str(checkpoint))
    settings = copy.deepcopy(cfg.model)
    if cfg.get('data_preprocessor'):  # as MMEngine's Runner does
        settings.setdefault('data_preprocessor', cfg.data_preprocessor)
    with explained(AssertionError, KeyError, TypeError, ValueError):
        model = MODELS.build(settings)
    state_dict = tensors_of(loaded)
    assert_fits(model, state_dict, str(checkpoint))
    model.load_state_dict(state_dict, strict=False)
    return model.train(), loaded.get('meta') or {}


def training_batches(cfg: Config, number: int, seed: int = 0) -> list[dict]:
    """Take the first batches of a config's training data, augmented as in training, on the CPU.

    Configs with the same data and ``train_dataloader.batch_size`` give the same batches for the same seed.

    Raises:
        SetupError: If the data are missing, or there are too few batches.
    """
    check_data(cfg, ['train'])
    init_default_scope(default_scope(cfg))
    # Workers would use random generators of their own.
    settings = {**cfg.train_dataloader, 'num_workers': 0, 'persistent_workers': False, 'pin_memory': False}
    loader = Runner.build_dataloader(settings, seed=seed)
    check_images(loader.dataset, 'train_dataloader')
    set_random_seed(seed)
    batches = list(itertools.islice(loader, number))
    if len(batches) < number:
        images = cfg.train_dataloader.get('batch_size', 1)  # PyTorch's default
        raise SetupError(f'the training data have {len(batches)} batches of {images} images, '
                         f'but {number} are asked for: ask for fewer, or lower train_dataloader.batch_size')
    return batches
