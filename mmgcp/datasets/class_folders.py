"""Find and check the class folders of a data set."""
import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from mmgcp.utils.errors import SetupError

_NAMES_SHOWN = 3


def class_names(folders: Sequence[Path], classes: Sequence[str] | None = None,
                origin: str | Path = 'the training') -> tuple[str, ...]:
    """List the class folders that all folders share, in label order; raise a SetupError if they differ.

    ``classes`` are those of ``origin``, in the order of the network's outputs. None takes those of the first folder,
    sorted, unless they are part of ImageNet's 1,000, whose labels would differ.
    """
    for folder in folders:
        if not folder.is_dir():
            raise SetupError(f'{folder} does not exist: it must hold one folder per class')
        found = subfolders(folder)
        if classes is None:
            if not found:
                raise SetupError(f'{folder} holds no class folders')
            if len(found) != 1000 and any(re.fullmatch(r'n\d{8}', name) for name in found):
                raise SetupError(f"{folder} holds {len(found)} of ImageNet's 1,000 class folders, and labels cannot be "
                                 'told from them: set classes to those that the network was trained on, in label order')
            classes, origin = found, folder
        difference = describe_difference(found, classes)
        if difference:
            raise SetupError(f'the class folders in {folder} are not those of {origin}: {difference}')
    return tuple(classes)


def subfolders(folder: Path, hidden: bool = False) -> list[str]:
    """List the names of the folders in a folder, sorted, the hidden ones only if asked for."""
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and (hidden or entry.name[0] != '.'))


def describe_difference(found: Collection[str], expected: Collection[str]) -> str:
    """Say how many names are missing and unknown, and which: ``'1 missing (cat)'``; empty where none is."""
    groups = ((set(expected).difference(found), 'missing'), (set(found).difference(expected), 'unknown'))
    return ' and '.join(f'{len(names)} {word} ({some(names)})' for names, word in groups if names)


def some(names: Collection[str]) -> str:
    """Enumerate the first names, sorted."""
    return ', '.join(sorted(names)[:_NAMES_SHOWN]) + (', ...' if len(names) > _NAMES_SHOWN else '')
