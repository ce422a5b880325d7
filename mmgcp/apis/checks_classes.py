"""Check class folders and image lists against each other and against the model."""
import itertools
import os
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from mmgcp.datasets.class_folders import describe_difference, some, subfolders
from mmgcp.utils.errors import SetupError

from .config_data import class_names, classes_of_head, labelled

# Default of MMPretrain's data sets.
_EXTENSIONS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif')


def check_class_folders(cfg: Config, splits: Sequence[str], trained_on: Sequence[str] = ()) -> list[str]:
    """Compare the class folders of all data sets with each other, with the checkpoint and with the number of outputs.

    Labels number the sorted folders: a folder missing from one of the sets shifts the labels of all that follow.
    ``data_preprocessor.num_classes``, which Mixup and CutMix need, is set to that of the head.
    """
    outputs, notes, folders, named = classes_of_head(cfg), [], {}, {}
    for preprocessor in (cfg.get('data_preprocessor'), cfg.get('model', {}).get('data_preprocessor')):
        if outputs and isinstance(preprocessor, dict) and 'num_classes' in preprocessor:
            preprocessor['num_classes'] = outputs
    # A test, too, compares with the training folders if they exist.
    for split, dataset, folder in labelled(cfg, list(dict.fromkeys(['train', *splits])), 'folders'):
        if split in splits:
            # MMPretrain ignores the case of extensions.
            notes += _check_images(folder, tuple(map(str.lower, dataset.get('extensions', _EXTENSIONS))))
        if folder.is_dir():
            folders[folder] = subfolders(folder, hidden=split in splits)
            names = dataset.get('classes') or (dataset.get('metainfo') or {}).get('classes') or ()
            named[folder] = class_names(names) if '://' not in names else ()
    for folder, classes in folders.items():
        origins = dict(itertools.islice(folders.items(), 1))  # the first folder
        if set(trained_on).intersection(classes):  # a checkpoint may have words where folders have numbers
            origins['the checkpoint'] = trained_on
        for origin, expected in origins.items():
            difference = describe_difference(classes, expected)
            if difference:
                head = f' (model.head.num_classes={outputs})' if outputs else ''
                raise SetupError(f'the {len(classes)} class folders in {folder} are not the {len(expected)} of '
                                 f'{origin}{head}: {difference}')
        if named[folder] and len(named[folder]) != len(classes):
            raise SetupError(f'the data set names {len(named[folder])} classes ({some(named[folder])}), but {folder} '
                             f'holds {len(classes)} class folders ({some(classes)})')
        for origin, names in (('the checkpoint', trained_on), ('the classes of the data set', named[folder])):
            names = list(map(str, names))
            if sorted(names) == sorted(classes) and names != list(classes):
                first = next(index for index, pair in enumerate(zip(names, classes, strict=True)) if len(set(pair)) > 1)
                raise SetupError(f'class {first} is {names[first]} for {origin} and {classes[first]} in {folder}, as '
                                 'labels number the sorted folders: name the folders or classes in the same order')
    for folder, classes in folders.items():
        if outputs and outputs != len(classes):
            raise SetupError(f'model.head.num_classes={outputs}, but {folder} holds {len(classes)} class folders '
                             f'({some(classes)}): set --cfg-options model.head.num_classes={len(classes)}, or the '
                             'data_root one level lower or higher')
    return notes


def _check_images(folder: Path, extensions: tuple[str, ...]) -> list[str]:
    if not folder.is_dir():
        raise SetupError(f'the folder {folder} does not exist: it must hold one folder of images per class')
    classes = subfolders(folder, hidden=True)
    if not classes:
        raise SetupError(f'{folder} holds no class folders: it must hold one folder of images per class')
    if classes[0][0] == '.':
        raise SetupError(f'{folder} holds the hidden folder {classes[0]}, which MMPretrain takes for a class: remove '
                         'it')
    files, unread, empty, endings = 0, [], [], f'ends in {", ".join(extensions)}'
    for name in classes:
        found = [file for _, _, inner in os.walk(folder / name, followlinks=True) for file in inner if file[0] != '.']
        others = [f'{name}/{file}' for file in found if not file.lower().endswith(extensions)]
        files, unread = files + len(found), unread + others
        if len(found) == len(others):
            empty.append(name)
    if empty:
        raise SetupError(f'{len(empty)} of {len(classes)} class folders in {folder} hold no file that {endings}, '
                         f'{empty[0]} for one: put images there, convert them, or set extensions of the data set')
    told = f'{len(unread)} of {files} files in {folder} are not read, as none {endings}: {some(unread)}'
    return [told] if unread else []


def check_lists(cfg: Config, splits: Sequence[str]) -> None:
    """Check that each line of an image list is an image and the number of a class."""
    outputs = classes_of_head(cfg)
    for _, _, file in labelled(cfg, splits, 'list'):
        if not file.is_file():
            raise SetupError(f'the annotation file {file} does not exist')
        if not file.stat().st_size:
            raise SetupError(f'the annotation file {file} is empty: it must hold an image and its class a line')
        with file.open(encoding='utf-8', errors='replace') as lines:
            for number, line in enumerate(map(str.strip, lines), 1):
                if line.startswith('\ufeff'):
                    raise SetupError(f'{file} starts with a byte order mark, which would be part of the first name: '
                                     'save it as plain UTF-8')
                image, _, label = line.rpartition(' ')
                if not image or not label.isdecimal():
                    raise SetupError(f'line {number} of {file} is {line[:80]!r}: it must be the path of an image, a '
                                     'space and the number of its class')
                if outputs and int(label) >= outputs:
                    raise SetupError(f'line {number} of {file} has class {label}, but model.head.num_classes={outputs} '
                                     f'has classes 0 to {outputs - 1}')
