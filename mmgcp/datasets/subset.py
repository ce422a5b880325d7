"""Part of a set's images: drawn at random by their names, or listed in a file."""
import re
from pathlib import Path
from typing import TypeVar

import numpy as np

from mmgcp.utils.errors import SetupError

from .class_folders import some
from .corruptions import image_key

_Dataset = TypeVar('_Dataset')


def take_subset(dataset: _Dataset, subset: str, seed: int = 0) -> _Dataset:
    """Reduce a data set in place: all sets that are made of the same images keep the same ones.

    Args:
        dataset: ``BaseDataset`` of images or sequences, or a wrapper with one in ``dataset``.
        subset (str): ``'rand:N'``, or a text file with an image ``CLASS/NAME`` per line; suffixes do not matter.
        seed (int): Seed of the random choice.

    Raises:
        SetupError: If there are fewer than N images, or listed ones do not exist.
    """
    images = getattr(dataset, 'dataset', dataset)
    infos = map(images.get_data_info, range(len(images)))
    # Folders of frames have no suffix. Images in subfolders, or of several suffixes, may share a name, not a path.
    names = [(info.get('sequence') or image_key(info['img_path']), info['img_path']) for info in infos]
    number = random_size(subset)
    images.get_subset_(_listed([key for key, _ in names], subset) if number is None else _drawn(names, number, seed))
    return dataset


def random_size(subset: str) -> int | None:
    """Return N of ``'rand:N'``; None for a file.

    >>> random_size('rand:5000')
    5000
    """
    match = re.fullmatch(r'rand:(\d+)', subset)
    return int(match[1]) if match else None


def _drawn(names, number, seed):
    if not 0 < number <= len(names):
        raise SetupError(f'the subset rand:{number} must have 1 to {len(names)} images, which is the size of the set')
    order = sorted(range(len(names)), key=names.__getitem__)
    return sorted(np.random.default_rng(seed).permutation(order)[:number].tolist())


def _listed(keys, path):
    lines = Path(path).read_text(encoding='utf-8', errors='surrogateescape').splitlines()  # as names of files
    chosen = {image_key(line) for line in lines if line.strip()}
    missing = chosen.difference(keys)
    if missing or not chosen:
        raise SetupError(f"{len(missing)} of the {len(chosen)} images that '{path}' lists are not in the data "
                         f'({some(missing)}): list them as CLASS/NAME, one a line')
    return [index for index, key in enumerate(keys) if key in chosen]
