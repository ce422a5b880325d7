"""Do the class folders of training, validation and test fit together, and the model?"""
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from mmengine.config import Config

from mmgcp.datasets.class_folders import describe_difference, some
from mmgcp.utils.errors import SetupError

from .preflight import class_root, leaves


def check_class_folders(cfg: Config, splits: Sequence[str], trained_on: Sequence[str] | None = None) -> None:
    """Compare the class folders of all data sets with each other, with the checkpoint and with the number of outputs.

    Labels are numbers of sorted folders: one folder missing from one of the sets shifts the labels of all that follow.
    ``data_preprocessor.num_classes``, which Mixup and CutMix need, is set to that of the head.

    Args:
        cfg (Config): Config of the run.
        splits (Sequence[str]): Data that the run reads: of ``'train'``, ``'val'`` and ``'test'``. The folders for
            training are looked at too, where they are there.
        trained_on (Sequence[str], optional): Classes that the checkpoint names. Those of another kind, such as words
            where the folders have numbers, are not compared.

    Raises:
        SetupError: If folders, or their number and ``model.head.num_classes``, differ.
    """
    outputs = _outputs(cfg)
    folders = {root: classes for split in dict.fromkeys(['train', *splits])
               for root, classes in _class_folders(cfg, split)}
    for root, classes in folders.items():
        if trained_on and set(trained_on).intersection(classes):
            _compare(root, classes, trained_on, 'the checkpoint', outputs)
        first = next(iter(folders))
        _compare(root, classes, folders[first], str(first), outputs)
    for root, classes in folders.items():
        if outputs and outputs != len(classes):
            raise SetupError(f'model.head.num_classes={outputs}, but {root} holds {len(classes)} class folders '
                             f'({some(classes)}): set --cfg-options model.head.num_classes={len(classes)}, or the '
                             'data_root one level lower or higher')


def _outputs(cfg: Config) -> int | None:
    """Classes of the head, which those of the preprocessor become."""
    head = cfg.get('model', {}).get('head')
    outputs = head.get('num_classes') if isinstance(head, dict) else None
    for preprocessor in (cfg.get('data_preprocessor'), cfg.get('model', {}).get('data_preprocessor')):
        if outputs and isinstance(preprocessor, dict) and 'num_classes' in preprocessor:
            preprocessor['num_classes'] = outputs
    return outputs


def _class_folders(cfg: Config, split: str) -> Iterator[tuple[Path, list[str]]]:
    """Folders that hold a folder per class, with the names of these."""
    loader = cfg.get(f'{split}_dataloader')
    for dataset in leaves(loader.dataset) if loader else ():
        root = class_root(dataset)
        if root and root.is_dir():
            yield root, sorted(entry.name for entry in os.scandir(root) if entry.is_dir())


def _compare(root: Path, found: Collection[str], expected: Collection[str], origin: str, outputs: int | None) -> None:
    difference = describe_difference(found, expected)
    if difference:
        head = f' (model.head.num_classes={outputs})' if outputs else ''
        raise SetupError(f'the {len(found)} class folders in {root} are not the {len(expected)} of {origin}{head}: '
                         f'{difference}')
