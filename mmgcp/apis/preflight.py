"""Check a config's data before any work starts."""
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from mmgcp.utils.errors import SetupError

from .checks_classes import check_class_folders, check_lists
from .checks_coco import check_coco_files
from .config_data import datasets, is_local


def check_data(cfg: Config, splits: Sequence[str], trained_on: Sequence[str] = ()) -> list[str]:
    """Check the folders and annotation files of the splits that a run reads; return notes on what it leaves out.

    Covers local image folders and lists (``CustomDataset``) and COCO files; other data sets check themselves when they
    are built. ``trained_on`` are the classes that the checkpoint names.
    """
    for split, dataset in datasets(cfg, splits):
        root = dataset.get('data_root') or ''
        if root and is_local(dataset, root) and not Path(root).is_dir():
            raise SetupError(f'the data root {root} does not exist: put the data there or set --cfg-options '
                             f'{split}_dataloader.dataset.data_root=FOLDER')
    check_lists(cfg, splits)
    return check_class_folders(cfg, splits, trained_on) + check_coco_files(cfg, splits)
