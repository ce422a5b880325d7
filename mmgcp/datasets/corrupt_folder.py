"""Write ImageNet-C and ImageNet-P (Hendrycks and Dietterich, ICLR 2019) or COCO-C versions of an image folder.

Each image ``CLASS/NAME.*`` gives

    CORRUPTION/SEVERITY/CLASS/NAME.JPEG (or .png)                       ImageNet-C
    PERTURBATION/CLASS/NAME/000.jpg, 001.jpg, ... (or .png), or
    PERTURBATION/CLASS/NAME.mp4                                         ImageNet-P

and each image ``NAME.jpg`` of COCO ``CORRUPTION/SEVERITY/NAME.jpg``, in its own size.

Images are resized, cropped and corrupted as in the pipeline ``LoadImageFromFile, ResizeEdge, CenterCrop,
mmgcp.Corrupt``, so that PNG files have exactly the same pixels. JPEG of quality 85, as published, and even more MP4
change them. Pillow resizes by default, as published; choose OpenCV if the ``ResizeEdge`` of the test pipeline uses it.

Files are written to a folder ``.part-*`` and moved to their place when they are complete.
"""
import functools
import json
import multiprocessing
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine.utils import ProgressBar
from mmpretrain.datasets.transforms import ResizeEdge

from mmgcp.utils.errors import SetupError
from mmgcp.utils.records import write_whole

from .corruptions import SMALLEST_SIDE, image_key
from .perturbations import DEFINITION
from .recipe import RECIPE_FILE, CorruptedSet, PerturbedSet, Recipe
from .unreadable import UnreadableError, read_image

_SUFFIXES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif')
# Mean over all corruptions or perturbations, measured on photos of 224 x 224 pixels.
_BYTES_PER_PIXEL = {'jpeg': 0.3, 'png': 1.5, 'mp4': 0.075}


class Report(NamedTuple):
    """Result of :func:`make_folder`."""
    written: int  # images or sequences
    present: int  # those that existed before
    unreadable: list[str]  # source images, in order


def make_folder(folder: str | Path, recipe: Recipe, sets: Sequence[CorruptedSet | PerturbedSet], workers: int = 0,
                skip_unreadable: bool = False, log: Callable[[str], None] = print) -> Report:
    """Write corrupted versions of all images of ``recipe.source``, except those that exist already.

    Images that cannot be read are left out; unless ``skip_unreadable`` is set, they raise an error once all others are
    written. ``workers`` is the number of processes, 0 for this one; ``log`` gets lines of progress.

    Raises:
        SetupError: If the folder holds something else or was made with another recipe, the source is not an image
            folder, or some of its images cannot be read.
    """
    folder = Path(folder).resolve()
    if folder.is_relative_to(recipe.source):
        raise SetupError(f"'{folder}' is in the source folder, where it would count as a class: choose another.")
    for version in sets:
        version.check(recipe)
    images = source_images(recipe.source, flat=recipe.benchmark == 'coco-c')
    first = next((image for path in images if (image := load_image(path, recipe)) is not None), None)
    if first is None:
        raise SetupError(f"none of the {len(images)} images in '{recipe.source}' can be read.")
    tasks, present = _missing(folder, recipe, sets, images)
    _keep_settings(folder, recipe)
    number = len(images) * len(sets) - present  # to write
    log(f'{len(images)} images x {len(sets)} sets: {number} to write to {folder}, {present} are there')
    log(_disk_space(folder, recipe, number, recipe.cropped(first)))
    unreadable, bar = [], ProgressBar(len(tasks), file=sys.stdout)
    outcomes = _outcomes(functools.partial(_write_versions, folder, recipe), tasks, workers)
    for (path, versions), readable in zip(tasks, outcomes, strict=True):
        if not readable:
            unreadable.append(str(path))
            number -= len(versions)
        bar.update()
    log('')
    if unreadable:
        sentence = f"{len(unreadable)} of {len(images)} images cannot be read: {', '.join(unreadable)}"
        if not skip_unreadable:
            raise SetupError(f'{sentence}; all others are written: replace these, or leave them out with '
                             '--skip-unreadable.')
        log(f'Left out: {sentence}')
    return Report(number, present, unreadable)


def source_images(source: str | Path, flat: bool = False) -> list[Path]:
    """List the images of a folder with a folder per class, or of a ``flat`` one, sorted.

    Raises:
        SetupError: If there are no classes, a class has no images, or two images of a class have the same stem.
    """
    form = 'SOURCE/' if flat else 'SOURCE/CLASS/'
    classes = [Path(source)] if flat else [entry for entry in _visible(source) if entry.is_dir()]
    if not classes:
        raise SetupError(f"'{source}' has no class folders: images must be in {form}.")
    images = []
    for folder in classes:
        found = [path for path in _visible(folder) if path.suffix.lower() in _SUFFIXES]
        if not found:
            raise SetupError(f"'{folder}' holds no images: images must be in {form}.")
        stem, number = Counter(path.stem for path in found).most_common(1)[0]
        if number > 1:
            raise SetupError(f"'{folder}' has {number} images called '{stem}': their versions would have the same "
                             'name; rename them.')
        images += found
    return images


def _visible(folder):
    """List the entries of a folder, sorted, without hidden ones, which macOS and Jupyter leave beside images."""
    return sorted(entry for entry in Path(folder).iterdir() if not entry.name.startswith('.'))


def _keep_settings(folder, recipe):
    """Write the settings of a folder, or compare them with those that it was made with."""
    path, settings = folder / RECIPE_FILE, asdict(recipe)
    if recipe.benchmark == 'imagenet-p':
        settings['definition'] = DEFINITION
    if path.is_file():
        try:
            known = dict(json.loads(path.read_text()))
        except (ValueError, TypeError):
            raise SetupError(f"'{path}' is not a file of settings: move it away.") from None
        changed = [f'{name}={known.get(name)!r} instead of {settings.get(name)!r}'
                   for name in sorted({*known, *settings}) if known.get(name) != settings.get(name)]
        if changed:
            raise SetupError(f"'{folder}' was made with {', '.join(changed)}: choose another folder, or the same "
                             'settings.')
    elif folder.exists() and any(entry.suffix != '.part' for entry in folder.iterdir()):  # one that a full disk left
        raise SetupError(f"'{folder}' holds something else (it has no {RECIPE_FILE}): choose an empty folder.")
    else:
        write_whole(path, json.dumps(settings, indent=2) + '\n')


def _missing(folder, recipe, sets, images):
    """List the images with the sets that lack them, and count the existing versions."""
    missing, present = [[] for _ in images], 0
    for version in sets:
        place = folder / version.folder
        targets = [place / version.target(image, recipe) for image in images]
        there = {path for part in {target.parent for target in targets} if part.is_dir() for path in part.iterdir()}
        for target, todo in zip(targets, missing, strict=True):
            if target in there:
                present += 1
            else:
                todo.append(version)
    return [(image, todo) for image, todo in zip(images, missing, strict=True) if todo], present


def _disk_space(folder, recipe, number, image):
    frames = recipe.frames or 32 if recipe.benchmark == 'imagenet-p' else 1
    needed = number * frames * image[..., 0].size * _BYTES_PER_PIXEL[recipe.format]
    return f'They take about {needed / 1e9:.2g} GB; {shutil.disk_usage(folder).free / 1e9:.3g} GB are free'


def _outcomes(work: Callable, tasks: Iterable, workers: int) -> Iterator:
    """Yield the results of all tasks in order, computed in this process or in several."""
    if not workers:
        yield from map(work, tasks)
        return
    # Spawned, not forked: a fork lacks the threads of OpenCV and Numba.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context('spawn'), cv2.setNumThreads, (0,))
    try:
        yield from pool.map(work, tasks)
    finally:
        pool.shutdown(cancel_futures=True)


def _write_versions(folder, recipe, task):
    """Write the versions of one image; return whether it can be read."""
    path, sets = task
    image = load_image(path, recipe)
    if image is None:
        return False
    with tempfile.TemporaryDirectory(dir=folder, prefix='.part-') as workshop:
        for version in sets:
            target = folder / version.folder / version.target(path, recipe)
            part = Path(workshop) / target.name
            version.write(image, image_key(path), recipe, part)
            target.parent.mkdir(parents=True, exist_ok=True)
            part.replace(target)
    return True


def load_image(path: Path, recipe: Recipe) -> np.ndarray | None:
    """Read and resize an image as MMPretrain does: RGB, uint8 (H, W, 3), or None if it cannot be read.

    Raises:
        SetupError: If it is smaller than the crop, or too small to be corrupted.
    """
    try:
        results = read_image(LoadImageFromFile(), dict(img_path=str(path)))
    except UnreadableError:
        return None
    if recipe.resize:
        results = ResizeEdge(recipe.resize, edge='short', backend=recipe.backend)(results)
    height, width = results['img'].shape[:2]
    smallest = max(recipe.crop, SMALLEST_SIDE)
    if min(height, width) < smallest:
        raise SetupError(f"'{path}' has {width} x {height} pixels, fewer than {smallest} a side: enlarge images with "
                         '--resize.')
    return np.ascontiguousarray(results['img'][..., ::-1])
