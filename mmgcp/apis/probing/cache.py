"""Cache features of images on disk, computed once and resumed after an interruption."""
import os
import warnings
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import Runner
from mmengine.utils import ProgressBar
from numpy.lib.format import open_memmap

from mmgcp.apis.checks_images import check_images
from mmgcp.utils.errors import SetupError
from mmgcp.utils.records import append_record, open_records
from mmgcp.utils.versions import library_versions

from .backbone import FrozenBackbone


class Features(NamedTuple):
    """Features of a data set.

    Attributes:
        values (np.ndarray): Memory-mapped maps (n, C, H, W) or tokens (n, N, C), float32 or float16.
        labels (np.ndarray): Integer classes (n,).
    """
    values: np.ndarray
    labels: np.ndarray


def cached_features(backbone: FrozenBackbone, dataset: dict, path: str | Path, half: bool = False,
                    batch_size: int = 64, workers: int = 1) -> Features:
    """Compute the features of a data set, or read those that an earlier call left.

    ``path`` + ``.npy`` holds the features, ``.jsonl`` beside it their settings and the number of finished rows.

    Args:
        backbone (FrozenBackbone): Backbone that computes the features.
        dataset (dict): Settings of a data set of images with labels.
        path (str or Path): Files without their ending; missing folders are made.
        half (bool): Whether to store float16. Default: False.
        batch_size (int): Images at a time. Default: 64.
        workers (int): Processes that read images. Default: 1.

    Raises:
        SetupError: If the files hold features of another network, preprocessing or data, an image cannot be read, or
            features are infinite.
    """
    init_default_scope('mmpretrain')
    images = DATASETS.build(dataset)
    check_images(images, str(Path(dataset['data_root'], dataset.get('data_prefix', ''))))
    rows = [images.get_data_info(index) for index in range(len(images))]
    files = [(str(Path(row['img_path']).relative_to(dataset['data_root'])), Path(row['img_path']).stat().st_size)
             for row in rows]
    parts = dict(backbone=backbone.settings, preprocessing=(backbone.preprocessor, dataset['pipeline']), images=files)
    settings = dict(weights=backbone.weights(), half=half, libraries=library_versions(),
                    **{name: zlib.crc32(repr(part).encode()) for name, part in parts.items()})
    array, record = (Path(f'{path}.{ending}') for ending in ('npy', 'jsonl'))
    done = _rows_done(array, record, settings, len(rows))
    if done < len(rows):
        print(f'Features of {len(rows) - done} images to {array}')
        _compute(backbone, images, done, array, record, half, dict(batch_size=batch_size, num_workers=workers))
    return Features(np.load(array, mmap_mode='r'), np.array([row['gt_label'] for row in rows]))


def _rows_done(array: Path, record: Path, settings: dict, rows: int) -> int:
    """Count the rows that earlier calls computed; 0, with a warning, if the files are damaged."""
    try:
        done = [entry['rows'] for entry in open_records(record, settings)]
    except ValueError as error:
        raise SetupError(f'the cache is of other features: {error}') from error
    if not done:
        return 0
    try:
        whole = len(np.load(array, mmap_mode='r')) == rows
    except (OSError, ValueError):  # missing, cut off, or not an array
        whole = False
    if whole:
        return done[-1]
    warnings.warn(f'{array} is missing or damaged, though {record.name} counts {done[-1]} rows of it: all are computed '
                  'anew.', stacklevel=4)
    record.unlink()
    open_records(record, settings)
    return 0


def _compute(backbone, images, done, array, record, half, loading):
    total = len(images)
    # In place: in MMEngine 0.10.7, get_subset() copies by a memo that outlives the call, and may take in other objects.
    images.get_subset_(list(range(done, total)))
    loader = Runner.build_dataloader(dict(
        dataset=images, sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'), persistent_workers=False, **loading))
    bar, store = ProgressBar(total - done), None
    for batch in loader:
        features = backbone.features(batch).cpu().numpy().astype(np.float16 if half else np.float32)
        if not np.isfinite(features).all():
            raise SetupError(f'features of the images {done} to {done + len(features) - 1} are infinite or NaN'
                             f"{' in half precision: leave out --half' if half else ': look at the weights'}")
        if store is None:
            store = (open_memmap(array, 'r+') if done else
                     open_memmap(array, 'w+', features.dtype, (total, *features.shape[1:])))
            _reserve(array)
        store[done:done + len(features)] = features
        store.flush()  # before the record counts these rows
        done += len(features)
        append_record(record, dict(rows=done))
        bar.update(len(features))
    print()


def _reserve(path):
    """Take the space of a file that is mapped: where none is left, the system would end the program without a word."""
    if not hasattr(os, 'posix_fallocate'):  # on macOS and Windows
        return
    size = path.stat().st_size
    try:
        with path.open('r+b') as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        raise SetupError(f'{path} takes {size / 1e9:.2g} GB, which cannot be had: {error.strerror}') from error
