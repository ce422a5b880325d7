"""Check that the images of built data sets can be read."""
import os
from collections.abc import Iterator
from functools import partial

import cv2
from mmcv.transforms import LoadImageFromFile
from mmengine.dataset import BaseDataset
from PIL import Image, UnidentifiedImageError

from mmgcp.datasets.class_folders import some
from mmgcp.datasets.unreadable import UnreadableError, read_image
from mmgcp.utils.errors import SetupError

MOST = 10_000  # images checked before a run, evenly spread; takes seconds


def check_images(dataset: object, where: str) -> None:
    """Check for missing or empty local images of a built data set, and make later decoding errors name the image.

    ``where`` names the data set in errors. Data sets with a policy of their own (``unreadable``) are left unchanged.
    """
    for part in _leaves(dataset):
        steps = part.pipeline.transforms
        for index, step in enumerate(steps):
            if type(step) is LoadImageFromFile and not step.ignore_empty:
                if not step.backend_args and not step.file_client_args:
                    _check_files(part, where)
                steps[index] = partial(_load, step)


def _load(load: LoadImageFromFile, info: dict) -> dict:
    try:
        return read_image(load, info)
    except UnreadableError as error:
        raise SetupError(f'{error}: put a whole file there, or take it out of the data set') from error


def _leaves(dataset: object) -> Iterator[BaseDataset]:
    if dataset is None or hasattr(dataset, 'unreadable'):
        return
    if isinstance(dataset, BaseDataset):
        yield dataset
    for part in getattr(dataset, 'datasets', [getattr(dataset, 'dataset', None)]):
        yield from _leaves(part)


def _check_files(dataset: BaseDataset, where: str) -> None:
    indices = range(0, len(dataset), -(-len(dataset) // MOST) or 1)
    paths = [dataset.get_data_info(index).get('img_path') for index in indices]
    paths = [path for path in paths if isinstance(path, str) and '://' not in path]
    for fault, is_good in (('do not exist', os.path.isfile), ('are empty, or no images', _is_image)):
        bad = [path for path in paths if not is_good(path)]
        if bad:
            raise SetupError(f'{len(bad)} of {len(paths)} images of {where} {fault}: {some(bad)}')


def _is_image(path: str) -> bool:
    if cv2.haveImageReader(path):
        return True
    try:
        Image.open(path).close()
    except UnidentifiedImageError:
        return False
    return True
