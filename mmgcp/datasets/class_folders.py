"""The folders of a data set that has one folder per class."""
from collections.abc import Collection, Sequence
from pathlib import Path

from mmpretrain.datasets import custom

from mmgcp.utils.errors import SetupError

_NAMES_TOLD = 3
_find_all_folders = custom.find_folders


def find_folders(*args, **kwargs) -> tuple[list[str], dict[str, int]]:
    """MMPretrain's function of this name without hidden folders, which are no classes (``.ipynb_checkpoints``)."""
    folders = [name for name in _find_all_folders(*args, **kwargs)[0] if not name.startswith('.')]
    return folders, {name: index for index, name in enumerate(folders)}


custom.find_folders = find_folders  # MMPretrain's data sets look it up in their module


def class_names(folders: Sequence[Path], classes: Sequence[str] | None = None) -> tuple[str, ...]:
    """Names of the class folders that several folders share, in the order of the labels.

    Args:
        folders (Sequence[Path]): One or more folders that each hold one folder per class.
        classes (Sequence[str] | None): Names of the class folders that the network was trained on, in the order of
            its outputs. None takes those of the first folder, sorted.

    Raises:
        SetupError: If a folder does not exist, or does not hold just these class folders.
    """
    origin = 'the training'
    for folder in folders:
        if not folder.is_dir():
            raise SetupError(f'{folder} does not exist: it must hold one folder per class')
        found = find_folders(str(folder))[0]
        if classes is None:
            if not found:
                raise SetupError(f'{folder} holds no class folders')
            classes, origin = found, folder
        difference = describe_difference(found, classes)
        if difference:
            raise SetupError(f'the class folders in {folder} are not those of {origin}: {difference}')
    return tuple(classes)


def describe_difference(found: Collection[str], expected: Collection[str]) -> str:
    """Say how many names are missing and unknown, and which: ``'1 missing (cat)'``; empty where none is."""
    groups = ((set(expected).difference(found), 'missing'), (set(found).difference(expected), 'unknown'))
    return ' and '.join(f'{len(names)} {word} ({some(names)})' for names, word in groups if names)


def some(names: Collection[str]) -> str:
    """Enumerate the first names, sorted."""
    return ', '.join(sorted(names)[:_NAMES_TOLD]) + (', ...' if len(names) > _NAMES_TOLD else '')
