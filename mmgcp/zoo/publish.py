"""Publish backbones with mmgcp's or torchvision's tensor names."""
import hashlib
import io
from pathlib import Path
from typing import NamedTuple

import torch
import torchvision
from torch import Tensor

from mmgcp.utils.checkpoint import WORKDIR_SCHEME, load_checkpoint, resolved, tensors_of, under_prefix
from mmgcp.utils.errors import SetupError
from mmgcp.version import __version__

from .families import CONVERTIBLE, family_of
from .released import assert_valid, fitted

# Entries of a checkpoint's meta that are still meaningful for the backbone alone.
META = ('dataset_meta', 'epoch', 'experiment_name', 'config_name', 'released')


class Published(NamedTuple):
    """Published file, called ``<out>-<first 8 digits of its SHA-256>.pth`` for ``torch.hub`` with ``check_hash``."""
    path: Path
    size_before: int  # of the checkpoint in bytes
    size_after: int  # of this file in bytes
    averaged: bool  # whether the weights are a moving average


def publish_backbone(filename: str, out: str) -> Published:
    """Write the backbone of a checkpoint to a file with its hash in the name.

    Names keep ``backbone.``, so that ``init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')`` loads it.
    From a checkpoint saved with ``EMAHook``, the averaged weights are published.

    The checkpoint, of a classifier or detector, is a file or ``workdir://NAME``. ``out`` is the path of the new file
    without suffix, or a folder for a file named after the checkpoint.

    Raises:
        SetupError: If the checkpoint is missing, broken, not finite or without backbone, or the file cannot be written.
    """
    source = Path(resolved(filename))
    checkpoint = load_checkpoint(str(source))
    backbone = _backbone(checkpoint, filename)
    meta = {key: value for key, value in checkpoint.get('meta', {}).items() if key in META}
    # Cloning drops the rest of a shared storage.
    state_dict = {f'backbone.{name}': value.detach().clone() for name, value in backbone.items()}
    file = io.BytesIO()
    torch.save(dict(meta=dict(meta, mmgcp_version=__version__), state_dict=state_dict), file)
    digest = hashlib.sha256(file.getvalue()).hexdigest()[:8]

    stem = Path(out)
    if stem.is_dir() or out.endswith('/'):
        stem = stem / (filename.removeprefix(WORKDIR_SCHEME) if filename.startswith(WORKDIR_SCHEME) else source.stem)
    # torch.hub reads the hash between the first hyphen and a dot.
    stem = stem.with_name(stem.name.removesuffix('.pth').replace('.', '_'))
    published = stem.with_name(f'{stem.name}-{digest}.pth')
    try:
        published.parent.mkdir(parents=True, exist_ok=True)
        published.write_bytes(file.getvalue())
    except OSError as error:
        raise SetupError(f'{published} cannot be written: {error.strerror}') from error
    return Published(published, source.stat().st_size, published.stat().st_size, 'ema_state_dict' in checkpoint)


def torchvision_backbone(checkpoint: dict, filename: str) -> tuple[dict[str, Tensor], str]:
    """Rename the backbone of a checkpoint to torchvision's tensor names.

    The checkpoint, called ``filename`` in messages, is that of a classifier or detector, or a published one. Returned
    are the state dict, and the name of the function in ``torchvision.models``, whose network loads it with
    ``strict=False``: only its classifier is missing. A ResNet without down-sampling in conv5 needs stride 1 there, too.

    Raises:
        SetupError: If there is no backbone, or torchvision does not have it.
    """
    tensors = _backbone(checkpoint, filename)
    family = family_of(tensors)
    name = family and family.networks.get(family.network(tensors))
    if not name:
        raise SetupError(f'the backbone in {filename} is not a {CONVERTIBLE} of torchvision: it begins with '
                         f"{', '.join(list(tensors)[:3])}")
    with torch.device('meta'):
        network = getattr(torchvision.models, name)(weights=None)
    expected = {key: value for key, value in network.state_dict().items() if not key.startswith(('fc.', 'classifier.'))}
    tensors = {family.to_torchvision(key): value for key, value in tensors.items()}
    return fitted(tensors, expected, f'the backbone in {filename} looks like {name}'), name


def _backbone(checkpoint: dict, filename: str) -> dict[str, Tensor]:
    tensors = tensors_of(checkpoint)
    backbone = under_prefix(tensors, 'backbone')
    if not backbone:
        raise SetupError(f"{filename} has no backbone: of its {len(tensors)} tensors none begins with 'backbone.'")
    assert_valid(backbone, filename)
    return backbone
