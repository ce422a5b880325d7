"""Image files of ImageNet-C and other benchmarks, see :mod:`mmgcp.robustness.catalogue`."""
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from mmpretrain.datasets import CustomDataset
from mmpretrain.datasets.custom import get_samples

from mmgcp.registry import DATASETS
from mmgcp.robustness.catalogue import BENCHMARKS, form_of, wnid_folders
from mmgcp.robustness.corruptions import CORRUPTIONS, SEVERITIES
from mmgcp.utils.errors import SetupError

from .class_folders import class_names, some
from .unreadable import check_policy, read_image, read_or_stand_in


def check_sets(data_root: str | Path, corruptions: Sequence[str] = CORRUPTIONS,
               severities: Sequence[int] = SEVERITIES, classes: Sequence[str] | None = None,
               benchmark: str = 'imagenet-c') -> tuple[str, ...]:
    """Check the folders of sets and classes, and list the class folders; arguments as of :class:`ImageNetC`.

    Raises:
        SetupError: If folders of corruptions or severities are missing, or class folders differ.
    """
    form, root = BENCHMARKS[benchmark], Path(data_root)
    if not root.is_dir():
        raise SetupError(f'the data root {root} does not exist: put the corrupted images there, in folders '
                         'corruption/severity/class')
    if not corruptions or not severities:
        raise SetupError('nothing is asked for: name at least one corruption and one severity')
    folders = {name: form.path(root, *pair) for name, pair in form.sets(corruptions, severities).items()}
    missing = [name for name, folder in folders.items() if not folder.is_dir()]
    if missing:
        raise SetupError(f'{root} lacks {", ".join(missing)}: put the folders there, or ask for the others alone')
    if form.measure == 'precision':  # no class folders
        return ()
    if form.classes:
        return class_names([*folders.values()], tuple(wnid_folders(form.classes)), benchmark)
    return class_names([*folders.values()], classes)


def check_wnids(benchmark: str, classes: Collection[str]) -> None:
    """Raise SetupError if a benchmark has classes of ImageNet that are not among those of a network."""
    missing = set(wnid_folders(BENCHMARKS[benchmark].classes).values()).difference(classes)
    if missing:
        raise SetupError(f"{benchmark} is for networks with ImageNet's 1,000 classes, but this one lacks "
                         f'{len(missing)} of its classes ({some(missing)})')


def check_pipeline(pipeline: Sequence[dict | Callable], resize_again: bool) -> None:
    """Raise SetupError if transforms resize or crop files that have the input size of networks already."""
    for step in pipeline:
        kind = step['type'] if isinstance(step, dict) else type(step)
        name = getattr(kind, '__name__', kind)
        if not resize_again and re.search('Resize|Crop', name):
            raise SetupError(f'{name} would change files that were resized and cropped before they were corrupted: '
                             'leave it out of the pipeline, or set resize_again=True (--resize-again)')


@DATASETS.register_module()
class ImageNetC(CustomDataset):
    r"""ImageNet-C and other sets of images in class folders.

    The published layouts are DATA_ROOT/corruption/severity/class/\*.JPEG of ImageNet-C, -C-bar and -3DCC,
    DATA_ROOT/class of ImageNet-A, -R and -Sketch, and DATA_ROOT/imagenetv2-VARIANT-format-val/number of ImageNet-V2.
    Labels follow from the names of the class folders, not from their order.

    Images are ordered by corruption, then by severity. The meta information of each sample has ``corruption``,
    ``severity`` (``'clean'`` and 0 where nothing is corrupted) and, if the image cannot be read, ``unreadable``. That
    of the data set has ``labels``, the classes that occur, in benchmarks with classes of their own:
    :class:`mmgcp.CorruptionError` ignores the scores of all others.

    Args:
        data_root (str): Folder of the corruptions.
        corruptions (Sequence[str] | None): Corruptions, or variants of ImageNet-V2; None means all in the benchmark.
        severities (Sequence[int] | None): Severities; None means 1 to 5.
        classes (Sequence[str] | str | None): Class folders of the training in label order, or a file with one name per
            line. None takes ImageNet's classes, sorted, in benchmarks with classes of their own; in others the sorted
            folders, unless they are part of ImageNet's 1,000.
        unreadable (str): ``'stop'`` raises an error for an unreadable image. ``'skip'`` returns the next readable one
            instead, tagged for metrics to exclude.
        pipeline (Sequence[dict]): Transforms; the first loads the image, the last packs it.
        benchmark (str): A key of :data:`~mmgcp.robustness.catalogue.BENCHMARKS` with files in class folders.
        resize_again (bool): Allow the pipeline to resize or crop corrupted images. The published files have the input
            size of networks, 224 x 224, and would lose their borders and sharpness. Default: False.
        **kwargs: Other arguments of ``mmpretrain.CustomDataset``.

    Raises:
        SetupError: If folders or images are missing, class folders differ, or the pipeline resizes or crops corrupted
            images; on access, if an image is unreadable.
    """

    def __init__(self, data_root: str, corruptions: Sequence[str] | None = None,
                 severities: Sequence[int] | None = None, classes: Sequence[str] | str | None = None,
                 unreadable: str = 'stop',
                 pipeline: Sequence[dict] = (dict(type='LoadImageFromFile'), dict(type='PackInputs')),
                 benchmark: str = 'imagenet-c', resize_again: bool = False, **kwargs) -> None:
        check_policy(unreadable)
        self.form, self.benchmark, self.unreadable = form_of(benchmark), benchmark, unreadable
        check_pipeline(pipeline, resize_again or self.form.classes is not None)
        self.corruptions = self.form.kinds if corruptions is None else corruptions
        self.severities = SEVERITIES if severities is None else severities
        super().__init__(data_root=data_root, classes=classes, pipeline=pipeline, test_mode=True, **kwargs)

    def load_data_list(self) -> list[dict]:
        """List ``img_path``, ``gt_label``, ``corruption`` and ``severity`` of each image."""
        folders = check_sets(self.data_root, self.corruptions, self.severities, self.CLASSES, self.benchmark)
        labels = self._labels(folders)
        samples, sizes = [], {}
        for corruption, severity in self.form.sets(self.corruptions, self.severities).values():
            folder = self.form.path(self.data_root, corruption, severity)
            images, empty = get_samples(str(folder), labels, self.is_valid_file)
            if empty:
                raise SetupError(f'{len(empty)} of {len(labels)} class folders in {folder} hold no images, '
                                 f'{min(empty)} for one')
            sizes[folder] = len(images)
            first = next(iter(sizes))
            if sizes[folder] != sizes[first]:
                raise SetupError(f'{folder} has {sizes[folder]} images and {first} has {sizes[first]}: all sets must '
                                 'be made of the same images')
            samples += [dict(img_path=f'{folder}/{file}', gt_label=label, severity=severity,
                             corruption=corruption if severity else 'clean') for file, label in images]
        return samples

    def _labels(self, folders: Sequence[str]) -> dict[str, int]:
        """Map the class folders to labels."""
        if not self.form.classes:
            self._metainfo['classes'] = tuple(folders)
            return {name: label for label, name in enumerate(folders)}
        known = {wnid: label for label, wnid in enumerate(self.CLASSES or wnid_folders())}
        wnids = wnid_folders(self.form.classes)
        check_wnids(self.benchmark, known)
        labels = {name: known[wnid] for name, wnid in wnids.items()}
        self._metainfo |= dict(classes=tuple(known), labels=tuple(labels.values()))
        return labels

    def prepare_data(self, idx: int) -> dict:
        """Load, transform, pack and tag an image."""
        load, *transforms = self.pipeline.transforms
        info = self.get_data_info(idx)
        results, tags = read_or_stand_in(
            lambda index: read_image(load, self.get_data_info(index)), idx, len(self), self.unreadable)
        # A stand-in replaces only the pixels.
        results = {**results, **info}
        for transform in transforms:
            results = transform(results)
        results['data_samples'].set_metainfo(dict(corruption=info['corruption'], severity=info['severity'], **tags))
        return results
