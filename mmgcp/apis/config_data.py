"""Find the data sets that a config names, and their labels."""
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.fileio import list_from_file

from mmgcp.utils.errors import SetupError


def kind(settings: Mapping) -> str:
    """Return the name of a type without its scope: 'mmdet.CocoDataset' is 'CocoDataset'."""
    named = settings.get('type') or ''
    return getattr(named, '__name__', str(named)).rpartition('.')[2]


def library_of(cfg: Config) -> str:
    """Return ``'mmdet'`` if the model is a detector of MMDetection, else ``'mmpretrain'``.

    Configs with Python imports give the model's class, and may have no default scope.
    """
    model = (cfg.get('model') or {}).get('type')
    if isinstance(model, type):
        detects = any(base.__module__.startswith('mmdet.') for base in model.__mro__)
    else:
        detects = str(model).startswith('mmdet.') or cfg.get('default_scope') == 'mmdet'
    return 'mmdet' if detects else 'mmpretrain'


def default_scope(cfg: Config) -> str:
    """Return the default scope of a config, that of the model's library if it sets none."""
    return cfg.get('default_scope') or library_of(cfg)


def require_model(cfg: Config) -> None:
    """Raise a SetupError if a config has no model."""
    if not cfg.get('model'):
        raise SetupError('the config has no model: it is a base of others, or no config at all')


def classes_of_head(cfg: Config) -> int | None:
    """Return ``model.head.num_classes``, or None if it is not set."""
    head = cfg.get('model', {}).get('head')
    return head.get('num_classes') if isinstance(head, dict) else None


def class_names(names: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names of classes; a text is a file with one per line, or else, as for MMEngine, a single name."""
    if isinstance(names, str):
        names = list_from_file(names) if Path(names).is_file() else [names]
    return tuple(names)


def datasets(cfg: Config, splits: Sequence[str]) -> Iterator[tuple[str, dict]]:
    """Yield splits and the settings of their data sets, inside wrappers such as ``RepeatDataset``."""
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        for dataset in leaves(loader.dataset) if loader else ():
            yield split, dataset


def is_local(settings: Mapping, *paths: str) -> bool:
    """Whether paths of a data set or metric are on this machine: no addresses, nor read by another storage backend."""
    backend = (settings.get('backend_args') or {}).get('backend', 'local')
    return backend == 'local' and not any('://' in path for path in paths)


def labels_of(dataset: Mapping) -> tuple[str, Path] | tuple[None, None]:
    """Return form and place of a data set's labels; None and None if they are remote or of another kind.

    Forms are ``'folders'``, one per class; ``'list'``, a file with an image and a label a line; and ``'coco'``.
    """
    root, file, prefix = (dataset.get(key) or '' for key in ('data_root', 'ann_file', 'data_prefix'))
    form, place = None, file
    if kind(dataset) == 'CustomDataset' and dataset.get('with_label', True):
        folder = prefix if isinstance(prefix, str) else prefix.get('img_path') or ''
        form, place = ('list', file) if file else ('folders', folder)
    elif kind(dataset) == 'CocoDataset' and file:
        form = 'coco'
    return (form, Path(root, place)) if form and is_local(dataset, root, place) else (None, None)


def labelled(cfg: Config, splits: Sequence[str], form: str) -> Iterator[tuple[str, dict, Path]]:
    """Yield splits, settings and places of the data sets whose labels have a form of :func:`labels_of`."""
    for split, dataset in datasets(cfg, splits):
        found, place = labels_of(dataset)
        if found == form:
            yield split, dataset, place


def leaves(dataset: dict) -> Iterator[dict]:
    """Yield the data sets of images inside wrappers such as ``ConcatDataset``."""
    inner = [dataset['dataset']] if 'dataset' in dataset else dataset.get('datasets')
    if inner is None:
        yield dataset
    for part in inner or ():
        yield from leaves(part)
