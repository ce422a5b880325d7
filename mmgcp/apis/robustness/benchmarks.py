"""Build the data sets of a robustness benchmark from the settings of the clean test data."""
import copy
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mmengine.registry import DATASETS
from torch.utils.data import Dataset

from mmgcp.apis import config_data
from mmgcp.datasets.class_folders import class_names, subfolders
from mmgcp.datasets.corruptions import load_library
from mmgcp.datasets.imagenet_c import check_sets, check_wnids
from mmgcp.datasets.perturbations import DEFINITION, check_perturbation, perturbation_folder, sequence_length
from mmgcp.datasets.recipe import RECIPE_FILE
from mmgcp.datasets.subset import random_size, take_subset
from mmgcp.robustness.catalogue import BENCHMARKS, Form, form_of, wnid_folders
from mmgcp.robustness.corruptions import SEVERITIES
from mmgcp.utils.errors import SetupError

ALL = tuple(name for name, form in BENCHMARKS.items() if name != 'clean' and form.measure != 'precision')
META_KEYS = ('sample_idx', 'img_path', 'ori_shape', 'img_shape', 'corruption', 'severity')


@dataclass
class Benchmark:
    """Robustness benchmark and the part of it to test on.

    Raises:
        SetupError: If there is no such benchmark, corruption, perturbation, severity, difficulty or subset.

    Examples:
        >>> Benchmark('imagenet-c', 'data/imagenet-c', kinds=['fog', 'snow'], severities=[1, 5]).sets
        ['clean', 'fog/1', 'fog/5', 'snow/1', 'snow/5']
    """
    name: str  # a key of mmgcp.robustness.catalogue.BENCHMARKS
    data_root: str | None = None  # folder of the images; None for those of the config, corrupted on the fly
    kinds: Sequence[str] = ()  # corruptions, or perturbations of ImageNet-P; all if empty
    severities: Sequence[int] = SEVERITIES  # of corruptions
    difficulty: int = 1  # of ImageNet-P, 1 to 3
    frames: int | None = None  # per sequence generated on the fly; None takes the published number
    seed: int = 0  # of images generated on the fly, and of the subset
    unreadable: str = 'stop'  # or 'skip', see mmgcp.datasets.ImageNetC
    partial: bool = False  # leave out the sets that are missing from data_root
    subset: str | None = None  # 'rand:N' or a file, see mmgcp.datasets.subset
    resize_again: bool = False  # resize and crop corrupted files like clean ones
    known_recipe: str = ''  # of measurements on record

    def __post_init__(self) -> None:
        self.kinds = tuple(self.kinds) or self.form.kinds
        for kind, severity in self.form.sets(self.kinds, self.severities).values():
            if self.name == 'imagenet-p':
                check_perturbation(kind, self.frames, self.difficulty)
            elif kind not in self.form.kinds + self.form.extra:
                raise SetupError(f"there is no corruption '{kind}' in {self.name}: choose from "
                                 f"{', '.join(self.form.kinds + self.form.extra)}")
            elif severity not in (*SEVERITIES, *([] if self.form.severities else [0])):
                raise SetupError(f'severity={severity!r} of {kind} must be an integer from 1 to {SEVERITIES[-1]}')
        if not set(self.form.kinds) & set(self.kinds):
            raise SetupError(f"extra corruptions are not in the mean: add one of {', '.join(self.form.kinds)}")
        if self.subset and self.name == 'coco-c':
            raise SetupError('a subset is for classifiers: of COCO, give test_dataloader and test_evaluator a smaller '
                             'annotation file')
        if self.subset and random_size(self.subset) is None and not Path(self.subset).is_file():
            raise SetupError(f"the subset '{self.subset}' is neither rand:N nor a file with an image a line")

    @property
    def form(self) -> Form:
        """Entry of the catalogue."""
        return form_of(self.name)

    @property
    def items(self) -> str:
        """Unit of the data sets: ``'images'`` or ``'sequences'``."""
        return 'sequences' if self.name == 'imagenet-p' else 'images'

    @property
    def sets(self) -> list[str]:
        """Names of all sets, including those that may be missing from ``data_root``."""
        return [*(['clean'] if self.form.severities else []), *self.form.sets(self.kinds, self.severities)]

    @property
    def folders(self) -> dict[str, Path]:
        """Folders of the sets in ``data_root``."""
        if self.name == 'imagenet-p':
            return {kind: Path(self.data_root, perturbation_folder(kind, self.difficulty)) for kind in self.kinds}
        return {name: self.form.path(self.data_root, *pair)
                for name, pair in self.form.sets(self.kinds, self.severities).items()}

    @property
    def whole(self) -> bool:
        """Whether all sets that enter the means are tested."""
        return not self.partial and set(Benchmark(self.name).sets) <= set(self.sets)

    @property
    def recipe(self) -> str:
        """The recipe of a folder that was made with one, as text; of a folder that is away, the one on record."""
        if not self.data_root or not Path(self.data_root).is_dir():
            return self.known_recipe
        path = Path(self.data_root, RECIPE_FILE)
        return f'made by a recipe of CRC-32 {zlib.crc32(path.read_bytes()):08x}' if path.is_file() else ''

    @property
    def made(self) -> bool:
        """Whether classifiers see images that are made on the fly."""
        return not (self.data_root or self.form.photos or self.form.measure == 'precision')

    @property
    def origin(self) -> str:
        """How the images were made, as text; empty for the published files, as which folders without a recipe count."""
        if self.made:
            return f'made on the fly, seed {self.seed}' + (f', {self.frames} frames' if self.frames else '')
        return ', '.join(filter(None, (self.recipe, 'resized again' if self.resize_again else '')))

    def identity(self) -> dict:
        """Return the settings that all sets of a table must share."""
        made = {} if self.name == 'clean' else dict(seed=self.seed)
        if self.data_root:
            made = dict(data_root=str(Path(self.data_root).resolve()))
        if self.recipe:
            made['recipe'] = self.recipe
        if self.name == 'imagenet-p':
            made['difficulty'] = self.difficulty
            if not self.data_root:
                made |= dict(frames=self.frames, definition=DEFINITION)
        elif not self.data_root and not self.form.photos:
            with suppress(PackageNotFoundError):
                made['imagecorruptions'] = version('imagecorruptions-imaug')
        if self.subset:
            made['subset'] = self.subset_title
        if self.resize_again:
            made['resize_again'] = True
        return dict(benchmark=self.name, **made)

    @property
    def subset_title(self) -> str:
        """The subset as tables state it: ``'rand:5000, seed 0'``, or name and CRC-32 of the file; empty if all."""
        if not self.subset:
            return ''
        if random_size(self.subset) is not None:
            return f'{self.subset}, seed {self.seed}'
        return f'{Path(self.subset).name}, CRC-32 {zlib.crc32(Path(self.subset).read_bytes()):08x}'


def all_benchmarks(data_root: str | None, partial: bool = False, **settings) -> list[Benchmark]:
    """List the benchmarks of classifiers that have files, each in the folder of ``data_root`` that has its name.

    Raises:
        SetupError: If a folder is missing, unless ``partial`` leaves out those benchmarks, or a subset is a list.
    """
    if not data_root:
        raise SetupError('all benchmarks need a data root (--data-root) with a folder each: ' + ', '.join(ALL))
    if settings.get('subset') and random_size(settings['subset']) is None:
        raise SetupError('the benchmarks have different images, which no one list names: give --subset rand:N')
    missing = [name for name in ALL if not Path(data_root, name).is_dir()]
    if missing and (not partial or len(missing) == len(ALL)):
        raise SetupError(f'{data_root} lacks the folders {", ".join(missing)}: put them there, or leave these '
                         'benchmarks out by --partial')
    return [Benchmark(name, str(Path(data_root, name)), partial=partial, **settings)
            for name in ALL if name not in missing]


def benchmark_sets(benchmark: Benchmark, dataloader: dict, evaluator: list | dict) -> dict[str, dict]:
    """Build the settings of all data sets from the loader and, for detectors, the evaluator of the clean images.

    Returns:
        dict[str, dict]: For each set (``'clean'``, ``'fog/3'``; ``'tilt'`` in ImageNet-P) the settings ``loader``,
        which override ``dataloader``, and ``evaluator``.
    """
    clean = dataloader['dataset']
    _check_folders(benchmark, class_folders(clean))
    if benchmark.name == 'imagenet-p':
        return _perturbed_sets(benchmark, dataloader)
    sets = {}
    for name, dataset in _image_sets(benchmark, clean):
        error = dict(type='mmgcp.CorruptionError', reference=None, partial=True, clean=name == 'clean')
        sets[name] = dict(loader=dict(dataset=dataset),
                          evaluator=copy.deepcopy(evaluator) if benchmark.name == 'coco-c' else error)
    return sets


def build_set(benchmark: Benchmark, dataset: dict) -> tuple[Dataset, int]:
    """Build the data set of a set, with the images of the benchmark's subset; return also its size without a subset."""
    built = DATASETS.build(dataset)
    size = len(built)
    return take_subset(built, benchmark.subset, benchmark.seed) if benchmark.subset else built, size


def class_folders(dataset: dict) -> list[str] | None:
    """List the class folders of a ``CustomDataset`` in label order; None for other data sets."""
    form, folder = config_data.labels_of(dataset)
    return subfolders(folder) if form == 'folders' and folder.is_dir() else None


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
    """Raise SetupError if a network has other classes than its clean test images, or lacks some of the benchmark's."""
    folders, classes = class_folders(cfg.test_dataloader.dataset), number_of_classes(cfg)
    if benchmark.name != 'coco-c' and folders and classes and len(folders) != classes:
        raise SetupError(f'the network has {classes} classes, but the clean images of test_dataloader have '
                         f'{len(folders)} class folders: test on the data that it was trained on')
    if benchmark.form.classes:
        check_wnids(benchmark.name, folders or (wnid_folders() if classes in (None, 1000) else ()))


def number_of_classes(cfg: dict) -> int | None:
    """Read the number of classes from a classifier's config; None if it is not set there."""
    numbers = [(cfg.model.get(part) or {}).get('num_classes', 0) for part in ('head', 'backbone')]
    return next((number for number in numbers if number > 0), None)


def _check_folders(benchmark, classes):
    """Check that the data of all sets, or the library that makes them, exist before hours of testing start."""
    name, root = benchmark.name, benchmark.data_root
    if root and name == 'clean':
        raise SetupError('the clean images are those of test_dataloader: leave the data root (--data-root) out')
    if benchmark.unreadable == 'skip' and (name == 'coco-c' or not root and name != 'imagenet-p'):
        raise SetupError('unreadable images can be left out of files in data_root and of ImageNet-P, but not of the '
                         'test images of the config, nor of COCO: replace those')
    if not root and (not benchmark.form.made or benchmark.resize_again):
        raise SetupError(f'{name} cannot be made from clean images: give the folder of its files (--data-root)'
                         if not benchmark.form.made else
                         'only files of a data root can be resized again: others are corrupted after resizing')
    if not root:
        return load_library() if benchmark.form.severities else None
    if Path(root).is_dir() and not any(folder.is_dir() for folder in benchmark.folders.values()):
        others = [other for other, form in BENCHMARKS.items() if form.measure == 'error' and form.severities
                  and any(form.path(root, *pair).is_dir() for pair in form.sets().values())]
        raise SetupError(f'{root} has no folder of {name}, such as {next(iter(benchmark.folders.values()))}'
                         + (f': it is of {", ".join(others)}' if others else ''))
    if name == 'imagenet-p' and not benchmark.partial:
        class_names([*benchmark.folders.values()], classes)
    elif not benchmark.partial:
        check_sets(root, benchmark.kinds, benchmark.severities, classes, name)


def _image_sets(benchmark, clean):
    """Yield the names and data sets of clean, corrupted and other images."""
    if benchmark.form.severities:
        yield 'clean', clean
    pack = 'PackDetInputs' if benchmark.name == 'coco-c' else 'PackInputs'
    for name, (kind, severity) in benchmark.form.sets(benchmark.kinds, benchmark.severities).items():
        if kind == 'clean':
            _split(clean, pack)
            yield name, clean
        elif not benchmark.data_root:
            yield name, corrupted(clean, kind, severity, benchmark.seed, pack)
        elif benchmark.partial and not benchmark.folders[name].is_dir():
            continue
        elif benchmark.name == 'coco-c':
            yield name, dict(clean, data_prefix=dict(img=f'{benchmark.folders[name].resolve()}/'))
        else:
            yield name, dict(
                type='mmgcp.ImageNetC', benchmark=benchmark.name, data_root=benchmark.data_root, corruptions=[kind],
                severities=[severity], classes=class_folders(clean), unreadable=benchmark.unreadable,
                pipeline=_file_pipeline(benchmark, clean), resize_again=benchmark.resize_again,
                serialize_data=False)  # serialising runs the garbage collector, which takes longer than opening a set


def _perturbed_sets(benchmark, dataloader):
    """Build one data set per perturbation."""
    clean, sets = dataloader['dataset'], {}
    for kind in benchmark.kinds:
        shared = dict(perturbation=kind, difficulty=benchmark.difficulty, unreadable=benchmark.unreadable)
        if not benchmark.data_root:
            dataset = dict(shared, type='mmgcp.PerturbedDataset', dataset=clean, frames=benchmark.frames,
                           seed=benchmark.seed)
        elif benchmark.partial and not benchmark.folders[kind].is_dir():
            continue
        else:
            dataset = dict(shared, type='mmgcp.ImageNetP', data_root=benchmark.data_root, classes=class_folders(clean),
                           pipeline=_file_pipeline(benchmark, clean)[1:], resize_again=benchmark.resize_again)
        frames = sequence_length(kind, benchmark.frames)
        loader = dict(dataset=dataset, batch_size=max(1, dataloader.get('batch_size', 1) // frames),
                      collate_fn=dict(type='mmgcp.collate_sequences'))
        sets[kind] = dict(loader=loader, evaluator=dict(type='mmgcp.PerturbationStability', partial=True))
    return sets


def _file_pipeline(benchmark, clean):
    """Return the pipeline for files, without the inner steps if the files were resized and cropped before."""
    pipeline, pack = _split(clean, 'PackInputs')
    return [*(pipeline if benchmark.form.classes or benchmark.resize_again else pipeline[:1]), pack]


def _split(dataset, pack):
    """Split a pipeline into the packing transform and those before it."""
    pipeline = dataset.get('pipeline') or []
    if len(pipeline) < 2 or config_data.kind(pipeline[-1]) != pack:
        raise SetupError(f'test_dataloader.dataset.pipeline must read images first and end with {pack}')
    return pipeline[:-1], pipeline[-1]
