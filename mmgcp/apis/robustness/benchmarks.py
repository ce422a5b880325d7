"""Build the data sets of a robustness benchmark from the settings of the clean test data."""
import copy
import itertools
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mmgcp.apis import config_data
from mmgcp.datasets.class_folders import class_names
from mmgcp.datasets.corruptions import check_corruption, load_library
from mmgcp.datasets.imagenet_c import check_sets, missing_sets
from mmgcp.datasets.perturbations import DEFINITION, check_perturbation, perturbation_folder, sequence_length
from mmgcp.robustness.corruptions import CORRUPTIONS, SEVERITIES
from mmgcp.robustness.perturbations import PERTURBATIONS
from mmgcp.utils.errors import SetupError

PACK = {'imagenet-c': 'PackInputs', 'imagenet-p': 'PackInputs', 'coco-c': 'PackDetInputs'}
META_KEYS = ('sample_idx', 'img_path', 'ori_shape', 'img_shape', 'corruption', 'severity')


@dataclass
class Benchmark:
    """Robustness benchmark and the part of it to test on.

    Raises:
        SetupError: If there is no such benchmark, corruption, perturbation, severity or difficulty.
    """
    name: str  # 'imagenet-c', 'imagenet-p' or 'coco-c'
    data_root: str | None = None  # folder of the corrupted images; None corrupts the clean images on the fly
    kinds: Sequence[str] = ()  # corruptions, or perturbations of ImageNet-P; all if empty
    severities: Sequence[int] = SEVERITIES  # of ImageNet-C and COCO-C
    difficulty: int = 1  # of ImageNet-P, 1 to 3
    frames: int | None = None  # per sequence generated on the fly; None takes the published number
    seed: int = 0  # of images generated on the fly
    unreadable: str = 'stop'  # or 'skip', see mmgcp.datasets.ImageNetC
    partial: bool = False  # leave out the sets that are missing from data_root

    def __post_init__(self) -> None:
        if self.name not in PACK:
            raise SetupError(f"there is no benchmark '{self.name}': choose from {', '.join(PACK)}")
        self.kinds = tuple(self.kinds) or (PERTURBATIONS if self.name == 'imagenet-p' else CORRUPTIONS)
        for kind in self.kinds:
            if self.name == 'imagenet-p':
                check_perturbation(kind, self.frames, self.difficulty)
            else:
                for severity in self.severities:
                    check_corruption(kind, severity)
        if not {*CORRUPTIONS, *PERTURBATIONS} & set(self.kinds):
            raise SetupError(f"extra corruptions are not in the mean: add one of {', '.join(CORRUPTIONS)}")

    @property
    def items(self) -> str:
        """Unit of the data sets: ``'images'`` or ``'sequences'``."""
        return 'sequences' if self.name == 'imagenet-p' else 'images'

    @property
    def sets(self) -> list[str]:
        """Names of all sets, including those that may be missing from ``data_root``."""
        if self.name == 'imagenet-p':
            return list(self.kinds)
        return ['clean', *(f'{kind}/{severity}' for kind in self.kinds for severity in self.severities)]

    @property
    def whole(self) -> bool:
        """Whether all sets that enter the means are tested."""
        return not self.partial and set(Benchmark(self.name).sets) <= set(self.sets)

    def identity(self) -> dict:
        """Return the settings that all sets of a table must share."""
        made = dict(data_root=str(Path(self.data_root).resolve())) if self.data_root else dict(seed=self.seed)
        if self.name == 'imagenet-p':
            made['difficulty'] = self.difficulty
            if not self.data_root:
                made |= dict(frames=self.frames, definition=DEFINITION)
        elif not self.data_root:
            with suppress(PackageNotFoundError):
                made['imagecorruptions'] = version('imagecorruptions-imaug')
        return dict(benchmark=self.name, **made)


def benchmark_sets(benchmark: Benchmark, dataloader: dict, evaluator: list | dict) -> dict[str, dict]:
    """Build the settings of all data sets from the loader and, for detectors, the evaluator of the clean images.

    Returns:
        dict[str, dict]: For each set (``'clean'``, ``'fog/3'``; ``'tilt'`` in ImageNet-P) the settings ``loader``,
        which override ``dataloader``, and ``evaluator``.

    Raises:
        SetupError: If data are missing, or corruptions cannot be inserted into the pipeline.
    """
    clean = dataloader['dataset']
    _check_folders(benchmark, class_folders(clean))
    if benchmark.name == 'coco-c':
        return {name: dict(loader=dict(dataset=dataset), evaluator=copy.deepcopy(evaluator))
                for name, dataset in _corrupted_sets(benchmark, clean)}
    if benchmark.name == 'imagenet-c':
        error = dict(type='mmgcp.CorruptionError', reference=None, partial=True)
        return {name: dict(loader=dict(dataset=dataset), evaluator=dict(error, clean=name == 'clean'))
                for name, dataset in _corrupted_sets(benchmark, clean)}
    return _perturbed_sets(benchmark, dataloader)


def class_folders(dataset: dict) -> list[str] | None:
    """List the class folders of a ``CustomDataset`` in label order; None for other data sets."""
    form, folder = config_data.labels_of(dataset)
    if form != 'folders' or not folder.is_dir():
        return None
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith('.'))


def corrupted(dataset: dict, corruption: str, severity: int, seed: int, pack: str) -> dict:
    """Insert a corruption into the pipeline of a data set.

    Classifiers' images are corrupted after resizing and cropping, as in ImageNet-C; detectors' images right after
    loading, as in COCO-C (Michaelis et al., arXiv:1907.07484). ``pack`` is the type of the last transform.
    """
    dataset = copy.deepcopy(dataset)
    pipeline, last = _split(dataset, pack)
    corrupt = dict(type='mmgcp.Corrupt', corruption=corruption, severity=severity, seed=seed)
    if pack == 'PackInputs':
        dataset['pipeline'] = [*pipeline, corrupt, {**last, 'meta_keys': META_KEYS}]
    else:
        dataset['pipeline'] = [pipeline[0], corrupt, *pipeline[1:], last]
    return dataset


def check_classes(cfg: dict, benchmark: Benchmark) -> None:
    """Raise SetupError if a network has another number of classes than its clean test images."""
    folders, classes = class_folders(cfg.test_dataloader.dataset), number_of_classes(cfg)
    if benchmark.name != 'coco-c' and folders and classes and len(folders) != classes:
        raise SetupError(f'the network has {classes} classes, but the clean images of test_dataloader have '
                         f'{len(folders)} class folders: test on the data that it was trained on')


def number_of_classes(cfg: dict) -> int | None:
    """Read the number of classes from a classifier's config; None if it is not set there."""
    for part in ('head', 'backbone'):
        if (cfg.model.get(part) or {}).get('num_classes', 0) > 0:
            return cfg.model[part].num_classes
    return None


def _check_folders(benchmark, classes):
    """Check that the data of all sets, or the library that makes them, exist before hours of testing start."""
    if not benchmark.data_root:
        if benchmark.name != 'imagenet-p':
            if benchmark.unreadable == 'skip':
                raise SetupError('unreadable images can be left out of files in data_root and of ImageNet-P, but not '
                                 'of test images that are corrupted while they are read: replace those')
            load_library()
        return
    if benchmark.name == 'coco-c':
        raise SetupError('COCO-C is made while the images are read: leave the data root out')
    if benchmark.partial:
        return
    if benchmark.name == 'imagenet-c':
        check_sets(benchmark.data_root, benchmark.kinds, benchmark.severities, classes)
    else:
        class_names(_perturbations(benchmark, *benchmark.kinds), classes)


def _corrupted_sets(benchmark, clean):
    """Yield the clean data set, then one per corruption and severity."""
    yield 'clean', clean
    pack = PACK[benchmark.name]
    for kind, severity in itertools.product(benchmark.kinds, benchmark.severities):
        if not benchmark.data_root:
            yield f'{kind}/{severity}', corrupted(clean, kind, severity, benchmark.seed, pack)
        elif not (benchmark.partial and missing_sets(benchmark.data_root, [kind], [severity])):
            pipeline, last = _split(clean, pack)
            yield f'{kind}/{severity}', dict(
                type='mmgcp.ImageNetC', data_root=benchmark.data_root, corruptions=[kind], severities=[severity],
                classes=class_folders(clean), unreadable=benchmark.unreadable, pipeline=[pipeline[0], last],
                serialize_data=False)  # serialising runs the garbage collector, which takes longer than opening a set


def _perturbed_sets(benchmark, dataloader):
    """One data set per perturbation."""
    clean, sets = dataloader['dataset'], {}
    for kind in benchmark.kinds:
        if not benchmark.data_root:
            dataset = dict(type='mmgcp.PerturbedDataset', dataset=clean, perturbation=kind, frames=benchmark.frames,
                           difficulty=benchmark.difficulty, seed=benchmark.seed, unreadable=benchmark.unreadable)
        elif benchmark.partial and not _perturbations(benchmark, kind)[0].is_dir():
            continue
        else:
            dataset = dict(type='mmgcp.ImageNetP', data_root=benchmark.data_root, perturbation=kind,
                           difficulty=benchmark.difficulty, classes=class_folders(clean),
                           unreadable=benchmark.unreadable, pipeline=[_split(clean, 'PackInputs')[1]])
        frames = sequence_length(kind, benchmark.frames)
        loader = dict(dataset=dataset, batch_size=max(1, dataloader['batch_size'] // frames),
                      collate_fn=dict(type='mmgcp.collate_sequences'))
        sets[kind] = dict(loader=loader, evaluator=dict(type='mmgcp.PerturbationStability', partial=True))
    return sets


def _perturbations(benchmark, *kinds):
    """Folders of perturbations."""
    return [Path(benchmark.data_root, perturbation_folder(kind, benchmark.difficulty)) for kind in kinds]


def _split(dataset, pack):
    """Split a pipeline into the packing transform and those before it."""
    pipeline = dataset.get('pipeline') or []
    if len(pipeline) < 2 or config_data.kind(pipeline[-1]) != pack:
        raise SetupError(f'test_dataloader.dataset.pipeline must read images first and end with {pack}')
    return pipeline[:-1], pipeline[-1]
