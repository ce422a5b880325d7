"""ImageNet-C: image files with corruptions of several kinds and severities.

Hendrycks and Dietterich, Benchmarking neural network robustness to common corruptions and perturbations, ICLR 2019.
"""
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from mmpretrain.datasets import CustomDataset
from mmpretrain.datasets.custom import get_samples

from mmgcp.registry import DATASETS
from mmgcp.robustness.corruptions import CORRUPTIONS, SEVERITIES
from mmgcp.utils.errors import SetupError

from .class_folders import class_names
from .unreadable import check_policy, read_image, read_or_stand_in


def missing_sets(data_root: str | Path, corruptions: Sequence[str], severities: Sequence[int]) -> list[str]:
    """List the sets (a corruption at a severity, such as ``'fog/3'``) that have no folder."""
    names = (f'{corruption}/{severity}' for corruption, severity in product(corruptions, severities))
    return [name for name in names if not Path(data_root, name).is_dir()]


def check_sets(data_root: str | Path, corruptions: Sequence[str] = CORRUPTIONS,
               severities: Sequence[int] = SEVERITIES, classes: Sequence[str] | None = None) -> tuple[str, ...]:
    """Check the folders of sets and classes, and return the classes in label order; arguments as of :class:`ImageNetC`.

    Raises:
        SetupError: If folders of corruptions or severities are missing, or class folders differ.
    """
    root = Path(data_root)
    if not root.is_dir():
        raise SetupError(f'the data root {root} does not exist: put the corrupted images there, in folders '
                         'corruption/severity/class')
    if not corruptions or not severities:
        raise SetupError('nothing is asked for: name at least one corruption and one severity')
    missing = missing_sets(root, corruptions, severities)
    if missing:
        raise SetupError(f'{root} lacks {", ".join(missing)}: put the folders there, or ask for the others alone')
    return class_names(
        [root / corruption / str(severity) for corruption, severity in product(corruptions, severities)], classes)


@DATASETS.register_module()
class ImageNetC(CustomDataset):
    r"""Corrupted images in the published layout, DATA_ROOT/corruption/severity/class/\*.JPEG.

    Images are ordered by corruption, then by severity. The meta information of each sample has ``corruption``,
    ``severity`` and, if the image cannot be read, ``unreadable``.

    Args:
        data_root (str): Folder of the corruptions.
        corruptions (Sequence[str] | None): Corruptions; None means the 15 of ImageNet-C.
        severities (Sequence[int] | None): Severities; None means 1 to 5.
        classes (Sequence[str] | str | None): Class folders of the training in label order, or a file with one name per
            line. None takes the sorted folders, unless they are part of ImageNet's 1,000.
        unreadable (str): ``'stop'`` raises an error for an unreadable image. ``'skip'`` returns the next readable one
            instead, tagged for metrics to exclude.
        pipeline (Sequence[dict]): Transforms; the first loads the image, the last packs it. The published images have
            the input size of the network and need no resizing or cropping.
        **kwargs: Other arguments of ``mmpretrain.CustomDataset``.

    Raises:
        SetupError: If folders or images are missing, or class folders differ; on access, if an image is unreadable.
    """

    def __init__(self, data_root: str, corruptions: Sequence[str] | None = None,
                 severities: Sequence[int] | None = None, classes: Sequence[str] | str | None = None,
                 unreadable: str = 'stop',
                 pipeline: Sequence[dict] = (dict(type='LoadImageFromFile'), dict(type='PackInputs')),
                 **kwargs) -> None:
        check_policy(unreadable)
        self.corruptions = CORRUPTIONS if corruptions is None else corruptions
        self.severities = SEVERITIES if severities is None else severities
        self.unreadable = unreadable
        super().__init__(data_root=data_root, classes=classes, pipeline=pipeline, test_mode=True, **kwargs)

    def load_data_list(self) -> list[dict]:
        """List ``img_path``, ``gt_label``, ``corruption`` and ``severity`` of each image."""
        classes = check_sets(self.data_root, self.corruptions, self.severities, self.CLASSES)
        self._metainfo['classes'] = classes
        labels = {name: label for label, name in enumerate(classes)}
        samples, sizes = [], {}
        for corruption, severity in product(self.corruptions, self.severities):
            folder = Path(self.data_root, corruption, str(severity))
            images, empty = get_samples(str(folder), labels, self.is_valid_file)
            if empty:
                raise SetupError(f'{len(empty)} of {len(classes)} class folders in {folder} hold no images, '
                                 f'{min(empty)} for one')
            sizes[folder] = len(images)
            first = next(iter(sizes))
            if sizes[folder] != sizes[first]:
                raise SetupError(f'{folder} has {sizes[folder]} images and {first} has {sizes[first]}: all sets must '
                                 'be made of the same images')
            samples += [dict(img_path=f'{folder}/{file}', gt_label=label, corruption=corruption, severity=severity)
                        for file, label in images]
        return samples

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
