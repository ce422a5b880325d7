"""Do annotation files hold what their use needs?"""
import mmap
import re
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from mmgcp.utils.errors import SetupError

from .preflight import coco_file, leaves, list_file

# Keys of COCO files that training reads, and those that evaluation reads beside them.
_TRAINED = ('id', 'image_id', 'category_id', 'bbox', 'area', 'file_name', 'width', 'height')
_EVALUATED = ('iscrowd', )
_AREA = re.compile(rb'"area"\s*:\s*[0.]*[1-9]')
_NO_OUTLINE = re.compile(rb'"segmentation"\s*:\s*\[\s*\]')


def check_annotations(cfg: Config, splits: Sequence[str]) -> None:
    """Look for the keys of COCO files, without parsing them, and at the lines of image lists.

    Args:
        cfg (Config): Config of the run.
        splits (Sequence[str]): Data that the run reads: of ``'train'``, ``'val'`` and ``'test'``.

    Raises:
        SetupError: If a COCO file lacks a key everywhere, or an outline that masks are trained with, or a line of a
            list has no image and label.
    """
    head = cfg.get('model', {}).get('head')
    outputs = head.get('num_classes') if isinstance(head, dict) else None
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        for dataset in leaves(loader.dataset) if loader else ():
            file, images = coco_file(dataset), list_file(dataset)
            if file:
                masks = any(step.get('with_mask') for step in dataset.get('pipeline', ()))
                _check_keys(file, _TRAINED if split == 'train' else _TRAINED + _EVALUATED, masks)
            elif images:
                _check_list(images, outputs)


def _check_keys(file: Path, keys: Sequence[str], masks: bool) -> None:
    with file.open('rb') as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as text:
        if text.find(b'"image_id"') < 0 and text.find(b'"bbox"') < 0:  # images without annotations
            return
        missing = [key for key in (*keys, *(['segmentation'] if masks else [])) if text.find(f'"{key}"'.encode()) < 0]
        if missing:
            raise SetupError(f'no image or annotation in {file} has {", ".join(missing)}')
        if not _AREA.search(text):
            raise SetupError(f'all annotations in {file} have area 0, and MMDetection leaves such boxes out: set area '
                             'to the width times the height of the box, or to that of its outline')
        if masks and _NO_OUTLINE.search(text):
            raise SetupError(f'annotations in {file} have an empty segmentation, which masks need: leave them out, or '
                             'train without masks')


def _check_list(file: Path, outputs: int | None) -> None:
    if not file.is_file():
        raise SetupError(f'the annotation file {file} does not exist')
    with file.open(encoding='utf-8', errors='replace') as lines:
        for number, line in enumerate(lines, 1):
            label = line.strip().rpartition(' ')[2]
            if ' ' not in line.strip() or not label.isdecimal():
                raise SetupError(f'line {number} of {file} is {line.strip()[:80]!r}: it must be the path of an image, '
                                 'a space and the number of its class')
            if outputs and int(label) >= outputs:
                raise SetupError(f'line {number} of {file} has class {label}, but model.head.num_classes={outputs} has '
                                 f'classes 0 to {outputs - 1}')
