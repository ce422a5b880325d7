"""Settings for writing corrupted images to files, and the sets of ImageNet-C, ImageNet-P and COCO-C."""
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from mmcv.transforms import CenterCrop
from PIL import Image

from mmgcp.utils.errors import SetupError

from .corruptions import SMALLEST_SIDE, check_corruption, corrupt_image, image_seed, load_library
from .perturbations import check_perturbation, perturb_image, perturbation_folder

RECIPE_FILE = 'settings.json'
FORMATS = {'imagenet-c': ('jpeg', 'png'), 'imagenet-p': ('jpeg', 'png', 'mp4'), 'coco-c': ('jpeg', 'png')}
_JPEG = ('.jpg', '.jpeg')
_FRAMES_PER_SECOND = 10


@dataclass(frozen=True)
class Recipe:
    """Settings that determine the pixels of a folder, stored there in :data:`RECIPE_FILE`.

    Raises:
        SetupError: If the folder does not exist or a value is out of range.
    """
    source: str  # folder with a folder of images per class; of COCO-C, with the images themselves
    benchmark: str  # 'imagenet-c', 'imagenet-p' or 'coco-c'
    resize: int = 256  # short side in pixels; 0 skips resizing
    backend: str = 'pillow'  # of ResizeEdge, or 'cv2'
    crop: int = 224  # side in pixels of the centre crop; 0 skips cropping
    format: str = 'jpeg'  # or 'png'; of sequences also 'mp4'
    quality: int = 85  # of JPEG, from 1 to 100
    frames: int | None = None  # per sequence; None takes the published number
    seed: int = 0

    def __post_init__(self) -> None:
        if not Path(self.source).is_dir():
            raise SetupError(f"the folder '{self.source}' does not exist.")
        object.__setattr__(self, 'source', str(Path(self.source).resolve()))
        if self.format not in FORMATS[self.benchmark]:
            raise SetupError(f"'{self.format}' is not a format of {self.benchmark}: choose from "
                             f"{', '.join(FORMATS[self.benchmark])}.")
        for name in ('resize', 'crop'):
            if 0 != getattr(self, name) < SMALLEST_SIDE:
                raise SetupError(f'{name}={getattr(self, name)} must be at least {SMALLEST_SIDE} pixels, or 0 to '
                                 'leave it out.')
        if self.benchmark == 'coco-c' and (self.resize or self.crop):
            raise SetupError('images of COCO-C keep their size, to which the annotations belong: set resize=0 and '
                             'crop=0.')
        if self.resize and self.crop > self.resize:
            raise SetupError(f'crop={self.crop} must not be more than resize={self.resize}.')
        if not 1 <= self.quality <= 100:
            raise SetupError(f'quality={self.quality} must be between 1 and 100.')
        if self.frames is not None and self.frames < 2:
            raise SetupError(f'frames={self.frames} must be at least 2.')

    def cropped(self, image: np.ndarray) -> np.ndarray:
        """Crop an image (H, W, 3)."""
        return np.ascontiguousarray(CenterCrop(self.crop)(dict(img=image))['img']) if self.crop else image

    def save(self, image: np.ndarray, path: Path) -> None:
        """Write an image, as PNG or JPEG."""
        options = dict(quality=self.quality, optimize=True) if self.format == 'jpeg' else {}
        Image.fromarray(image).save(path, self.format, **options)


class CorruptedSet(NamedTuple):
    """One set of ImageNet-C or COCO-C: a corruption at a severity."""
    name: str
    severity: int

    @property
    def folder(self) -> str:
        """Folder of the set."""
        return f'{self.name}/{self.severity}'

    def check(self, recipe: Recipe) -> None:
        """Raise SetupError if the set cannot be made."""
        check_corruption(self.name, self.severity)
        load_library()

    def target(self, path: Path, recipe: Recipe) -> Path:
        """Return the file made from an image, relative to :attr:`folder`; in COCO-C with the name of the image."""
        if recipe.benchmark != 'coco-c':
            return Path(path.parent.name, path.stem + {'jpeg': '.JPEG', 'png': '.png'}[recipe.format])
        if path.suffix.lower() not in {'jpeg': _JPEG, 'png': ('.png', )}[recipe.format]:
            raise SetupError(f"'{path}' keeps its name, by which the annotations know it, and cannot become "
                             f'{recipe.format}: choose the format of the images (--format).')
        return Path(path.name)

    def write(self, image: np.ndarray, key: str, recipe: Recipe, path: Path) -> None:
        """Crop, corrupt and write an RGB image, seeded by its :func:`~mmgcp.datasets.corruptions.image_key`."""
        seed = image_seed(recipe.seed, self.name, self.severity, key)
        recipe.save(corrupt_image(recipe.cropped(image), self.name, self.severity, seed), path)


class PerturbedSet(NamedTuple):
    """One set of ImageNet-P: a perturbation, with a difficulty for noise."""
    name: str
    difficulty: int = 1

    @property
    def folder(self) -> str:
        """Folder of the set."""
        return perturbation_folder(self.name, self.difficulty)

    def check(self, recipe: Recipe) -> None:
        """Raise SetupError if the set does not exist."""
        check_perturbation(self.name, recipe.frames, self.difficulty)

    def target(self, path: Path, recipe: Recipe) -> Path:
        """Return the video, or folder of frames, made from an image, relative to :attr:`folder`."""
        return Path(path.parent.name, f'{path.stem}.mp4' if recipe.format == 'mp4' else path.stem)

    def write(self, image: np.ndarray, key: str, recipe: Recipe, path: Path) -> None:
        """Write the sequence of an RGB image, seeded by its ``image_key``, as a video or a folder of frames."""
        seed = image_seed(recipe.seed, self.name, key)
        frames = perturb_image(image, self.name, recipe.frames, self.difficulty, seed, recipe.cropped)
        if recipe.format == 'mp4':
            return _save_video(frames, path)
        path.mkdir()
        suffix = {'jpeg': '.jpg', 'png': '.png'}[recipe.format]
        for index, frame in enumerate(frames):
            recipe.save(frame, path / f'{index:03d}{suffix}')


def _save_video(frames, path):
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), _FRAMES_PER_SECOND, (width, height))
    if not writer.isOpened():
        raise SetupError(f"OpenCV cannot write '{path}' (codec mp4v): write frames with --format jpeg.")
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    # OpenCV only warns where it cannot write, as on a full disk; it writes the number of frames last.
    if cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) != len(frames):
        raise SetupError(f"the video '{path.name}' could not be written whole: look whether the disk is full.")
