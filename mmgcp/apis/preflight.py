"""Check a config's data before any work starts."""
import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmengine.config import Config

from mmgcp.utils.errors import SetupError

COCO_KEYS = (b'"images"', b'"annotations"', b'"categories"')


def check_data(cfg: Config, splits: Sequence[str]) -> None:
    """Check the folders and annotation files of a config's dataloaders.

    Covers local image folders (``CustomDataset``) and COCO annotation files; other data sets check themselves when they
    are built.

    Args:
        cfg (Config): Config of the run.
        splits (Sequence[str]): Dataloaders to check: any of ``'train'``, ``'val'`` and ``'test'``. None is skipped.

    Raises:
        SetupError: If a data root or annotation file is missing, a class folder is empty, or a file is not COCO json.
    """
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        for dataset in _leaves(loader.dataset) if loader else ():
            _check_dataset(dataset, f'{split}_dataloader.dataset')


def _leaves(dataset: dict) -> Iterator[dict]:
    """Data sets inside wrappers such as ``RepeatDataset`` and ``ConcatDataset``."""
    if 'dataset' in dataset:
        yield from _leaves(dataset['dataset'])
    elif 'datasets' in dataset:
        for inner in dataset['datasets']:
            yield from _leaves(inner)
    else:
        yield dataset


def _check_dataset(dataset: dict, where: str) -> None:
    root, prefix = dataset.get('data_root') or '', dataset.get('data_prefix') or ''
    prefix = prefix if isinstance(prefix, str) else prefix.get('img_path') or ''
    kind, annotations = dataset['type'], dataset.get('ann_file') or ''
    if '://' in root:
        return
    if root and not Path(root).is_dir():
        raise SetupError(f'the data root {root} does not exist: put the data there or set --cfg-options '
                         f'{where}.data_root=FOLDER')
    if kind == 'CustomDataset' and not annotations and '://' not in prefix and dataset.get('with_label', True):
        _check_class_folders(Path(root, prefix))
    elif kind == 'CocoDataset' and annotations and '://' not in annotations:
        # Files for a test server, such as image_info_test-dev2017.json, have no annotations.
        keys = [key for key in COCO_KEYS if key != b'"annotations"' or not where.startswith('test')]
        _check_coco_json(Path(root, annotations), keys)


def _check_class_folders(folder: Path) -> None:
    if not folder.is_dir():
        raise SetupError(f'the folder {folder} does not exist: it must hold one folder of images per class')
    classes = [entry for entry in os.scandir(folder) if entry.is_dir()]
    if not classes:
        raise SetupError(f'{folder} holds no class folders: it must hold one folder of images per class')
    empty = sorted(entry.name for entry in classes if next(os.scandir(entry.path), None) is None)
    if empty:
        raise SetupError(f'{len(empty)} of {len(classes)} class folders in {folder} are empty, {empty[0]} for one')


def _check_coco_json(file: Path, keys: Sequence[bytes]) -> None:
    """Recognise a whole COCO file by its ends and keys, in a fraction of the time that parsing takes."""
    if not file.is_file():
        raise SetupError(f'the annotation file {file} does not exist')
    if file.stat().st_size:
        with file.open('rb') as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as text:
            starts, ends = text[:64].lstrip()[:1] == b'{', text[-64:].rstrip()[-1:] == b'}'
            if starts and ends and all(text.find(key) >= 0 for key in keys):
                return
    raise SetupError(f'{file} is not a COCO annotation file, or was cut off: it must be a json object with images, '
                     'annotations and categories')
