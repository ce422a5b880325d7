"""Check a config's data before any work starts."""
import codecs
import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmengine.config import Config

from mmgcp.utils.errors import SetupError

# Default of MMPretrain's data sets.
_EXTENSIONS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif')
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
        for dataset in leaves(loader.dataset) if loader else ():
            _check_dataset(dataset, f'{split}_dataloader.dataset')


def leaves(dataset: dict) -> Iterator[dict]:
    """Yield the data sets inside wrappers such as ``RepeatDataset`` and ``ConcatDataset``."""
    if 'dataset' in dataset:
        yield from leaves(dataset['dataset'])
    elif 'datasets' in dataset:
        for inner in dataset['datasets']:
            yield from leaves(inner)
    else:
        yield dataset


def class_root(dataset: dict) -> Path | None:
    """Folder that holds one folder per class; None where the data set is remote or of another kind."""
    root, prefix = dataset.get('data_root') or '', dataset.get('data_prefix') or ''
    prefix = prefix if isinstance(prefix, str) else prefix.get('img_path') or ''
    folders = (dataset['type'].rpartition('.')[2] == 'CustomDataset' and not dataset.get('ann_file')
               and dataset.get('with_label', True) and '://' not in root + prefix)
    return Path(root, prefix) if folders else None


def list_file(dataset: dict) -> Path | None:
    """Local file with an image and a label a line; None where the data set is of another kind."""
    root, file = dataset.get('data_root') or '', dataset.get('ann_file') or ''
    listed = dataset['type'].rpartition('.')[2] == 'CustomDataset' and dataset.get('with_label', True)
    return Path(root, file) if file and listed and '://' not in root + file else None


def coco_file(dataset: dict) -> Path | None:
    """COCO annotation file of a data set; None where it is remote or of another kind."""
    root, file = dataset.get('data_root') or '', dataset.get('ann_file') or ''
    local = file and '://' not in root + file
    return Path(root, file) if local and dataset['type'].rpartition('.')[2] == 'CocoDataset' else None


def _check_dataset(dataset: dict, where: str) -> None:
    root = dataset.get('data_root') or ''
    if '://' in root:
        return
    if root and not Path(root).is_dir():
        raise SetupError(f'the data root {root} does not exist: put the data there or set --cfg-options '
                         f'{where}.data_root=FOLDER')
    folder, file = class_root(dataset), coco_file(dataset)
    if folder:
        _check_class_folders(folder, tuple(dataset.get('extensions', _EXTENSIONS)))
    elif file:
        # Files for a test server, such as image_info_test-dev2017.json, have no annotations.
        _check_coco_json(file, [key for key in COCO_KEYS if key != b'"annotations"' or not where.startswith('test')])


def _check_class_folders(folder: Path, extensions: tuple[str, ...]) -> None:
    if not folder.is_dir():
        raise SetupError(f'the folder {folder} does not exist: it must hold one folder of images per class')
    classes = [entry for entry in os.scandir(folder) if entry.is_dir()]
    hidden = [entry.name for entry in classes if entry.name[0] == '.']
    if hidden:
        raise SetupError(f'{folder} holds the hidden folder {hidden[0]}, which MMPretrain takes for a class: remove it')
    if not classes:
        raise SetupError(f'{folder} holds no class folders: it must hold one folder of images per class')
    empty = sorted(entry.name for entry in classes if next(os.scandir(entry.path), None) is None)
    if empty:
        raise SetupError(f'{len(empty)} of {len(classes)} class folders in {folder} are empty, {empty[0]} for one')
    unread = sorted(entry.name for entry in classes if not any(
        inner.is_dir() or (inner.name[0] != '.' and inner.name.lower().endswith(extensions))
        for inner in os.scandir(entry.path)))
    if unread:
        raise SetupError(f'{len(unread)} of {len(classes)} class folders in {folder} hold no file that ends in '
                         f'{", ".join(extensions)}, {unread[0]} for one: convert the images, or set extensions of '
                         'the data set')


def _check_coco_json(file: Path, keys: Sequence[bytes]) -> None:
    """Recognise a whole COCO file by its ends and keys, in a fraction of the time that parsing takes."""
    if not file.is_file():
        raise SetupError(f'the annotation file {file} does not exist')
    if file.stat().st_size:
        with file.open('rb') as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as text:
            if text[:3] == codecs.BOM_UTF8 or text[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                raise SetupError(f'{file} is in UTF-16, or in UTF-8 with a byte order mark: save it as plain UTF-8')
            starts, ends = text[:4096].lstrip()[:1] == b'{', text[-4096:].rstrip()[-1:] == b'}'
            if starts and ends and all(text.find(key) >= 0 for key in keys):
                return
    raise SetupError(f'{file} is not a COCO annotation file, or was cut off: it must be a json object with images, '
                     'annotations and categories')
