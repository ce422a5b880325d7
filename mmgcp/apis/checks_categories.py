"""Do the categories of COCO files fit the classes of the data sets, and the heads of the model?"""
import json
import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmengine.config import Config

from mmgcp.datasets.class_folders import describe_difference, some
from mmgcp.utils.errors import SetupError

from .preflight import coco_file, leaves

_KEY = b'"categories"'
_FIRST_PART = 1 << 16  # bytes to parse at first; the part grows until it holds all categories


def check_categories(cfg: Config, splits: Sequence[str]) -> None:
    """Compare the categories of COCO files with the classes of data sets and heads.

    MMDetection numbers classes in the order of the file, but names them in that of ``metainfo.classes``: from files in
    another order it would take the labels of other classes.

    Args:
        cfg (Config): Config of the run.
        splits (Sequence[str]): Data that the run reads: of ``'train'``, ``'val'`` and ``'test'``.

    Raises:
        SetupError: If a file lacks a class, has it twice or in another order, or a head has another number of classes.
    """
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        for dataset in leaves(loader.dataset) if loader else ():
            file = coco_file(dataset)
            categories = read_categories(file) if file else None
            if categories is not None:
                classes = _classes(dataset)
                _compare(file, categories, classes, f'{split}_dataloader.dataset.metainfo.classes')
                _check_heads(cfg.get('model', {}), classes)


def read_categories(file: Path) -> list[dict] | None:
    """Read the categories of a COCO file without parsing the rest.

    Args:
        file (Path): Annotation file; that of COCO's training images has 450 MB.

    Returns:
        list[dict] | None: The last list of objects with ``id`` and ``name`` under the key ``categories``; None where
        there is none.
    """
    with file.open('rb') as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as text:
        at = text.rfind(_KEY)
        while at >= 0:
            found = _list_after(text, at + len(_KEY))
            if found is not None and all(isinstance(entry, dict) and {'id', 'name'} <= set(entry) for entry in found):
                return found
            at = text.rfind(_KEY, 0, at)
    return None


def _list_after(text: mmap.mmap, start: int) -> list | None:
    size = _FIRST_PART
    while True:
        part = text[start:start + size].decode('utf-8', errors='ignore').lstrip().removeprefix(':').lstrip()
        if part[:1] != '[':
            return None
        try:
            return json.JSONDecoder().raw_decode(part)[0]
        except json.JSONDecodeError:
            if start + size >= len(text):
                return None
            size *= 4


def _classes(dataset: dict) -> tuple[str, ...]:
    from mmdet.datasets import CocoDataset  # an optional dependency
    classes = (dataset.get('metainfo') or {}).get('classes', CocoDataset.METAINFO['classes'])
    return (classes, ) if isinstance(classes, str) else tuple(classes)


def _compare(file: Path, categories: list[dict], classes: tuple[str, ...], setting: str) -> None:
    names = [entry['name'] for entry in categories]
    missing = set(classes).difference(names)
    if missing:
        raise SetupError(f'the {len(names)} categories in {file} are not the {len(classes)} of {setting}: '
                         f'{describe_difference(names, classes)}')
    twice = {name for name in classes if names.count(name) > 1}
    if twice:
        raise SetupError(f'{len(twice)} categories in {file} have several ids: {some(twice)}')
    texts = {entry['name'] for entry in categories if not isinstance(entry['id'], int)}
    if texts:
        raise SetupError(f'the ids of {len(texts)} categories in {file} are no integers: {some(texts)}')
    in_file = [name for name in names if name in classes]
    if in_file != list(classes):
        raise SetupError(f'the categories in {file} come in another order than {setting}, so that MMDetection would '
                         f'take the labels of one class for those of another: set it to {tuple(in_file)}')


def _check_heads(model: dict, classes: tuple[str, ...]) -> None:
    if 'language_model' in model:  # its heads compare with words
        return
    for where, head in _heads(model, 'model'):
        if head.get('num_classes', len(classes)) != len(classes):
            raise SetupError(f"{where}.num_classes={head['num_classes']}, but the data sets have {len(classes)} "
                             f'classes ({", ".join(classes[:3])}{", ..." if len(classes) > 3 else ""}): set both '
                             'alike, the classes in metainfo.classes')


def _heads(model: dict, where: str) -> Iterator[tuple[str, dict]]:
    """Heads that tell classes apart, with their place in the config; each stage of a cascade has one."""
    for key, value in model.items():
        for part in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(part, dict):
                if key == 'bbox_head' or (key == 'mask_head' and not part.get('class_agnostic')):
                    yield f'{where}.{key}', part
                yield from _heads(part, f'{where}.{key}')
