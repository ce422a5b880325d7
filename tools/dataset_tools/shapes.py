"""Generate a small data set of textured shapes.

A class is a pair of texture and form, such as ``striped_disc``, so that neither cue suffices alone. Everything else is
random and independent of the class: colours, brightness, noise, and the area, place, rotation, texture scale and
texture phase of a shape. Each texture shows its two colours equally often. The background has one of the textures too.

Each image has its own random generator, seeded by (seed, split, index), and does not depend on the number of images.
Images are PNG files, because lossy compression would change the textures that distinguish the classes.
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

TEXTURES = ('checked', 'dotted', 'striped', 'wavy')
FORMS = ('disc', 'square', 'triangle')
# In alphabetical order, so that labels from sorted folder names equal the COCO category ids minus one.
CLASSES = tuple(f'{texture}_{form}' for texture in TEXTURES for form in FORMS)

_STREAMS = {('imagenet', 'train'): 0, ('imagenet', 'val'): 1, ('coco', 'train'): 2, ('coco', 'val'): 3}
# Diameter of the disc with the same area as the shape, as a fraction of the image's side.
_DIAMETERS = {'imagenet': (0.45, 0.64), 'coco': (0.2, 0.4)}
_PERIODS_PER_DIAMETER = (2.0, 3.5)
_SMALLEST_PERIOD = 8.0
# Shapes are lighter than the background on average, though not everywhere: otherwise they are too hard to find.
_SHAPE_LEVELS, _SHAPE_CONTRAST = (0.45, 0.75), (0.35, 0.7)
_GROUND_LEVELS, _GROUND_CONTRAST = (0.2, 0.5), (0.1, 0.25)
_BRIGHTNESS = (0.7, 1.1)
_NOISE = 0.05
_TILT = np.pi / 8
_MOST_SHAPES = 5
_LEAST_VISIBLE = 0.3
_PLACES_TRIED = 20
# Identifies sets drawn by this file: keep the name, although the file has moved, and raise the version with each change
# to the drawing.
_MAKER = {'generator': 'mmgcp.datasets.shapes', 'version': 2}


@dataclass(frozen=True)
class ShapeSettings:
    """Settings that determine the contents of one set.

    Args:
        image_size (int): Side of the square images in pixels, at least 16.
        train (int): Number of training images, per class in ImageNet layout and in total in COCO layout, at least 1.
        val (int): Number of validation images, counted likewise, at least 1.
        seed (int): Seed of the random generators, at least 0.

    Raises:
        ValueError: If a value is not an integer or is too small.
    """

    image_size: int
    train: int
    val: int
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (('image_size', 16), ('train', 1), ('val', 1), ('seed', 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(f'{name} must be an integer of at least {least}, but is {value!r}.')


IMAGENET_SETTINGS = ShapeSettings(image_size=64, train=200, val=50)
COCO_SETTINGS = ShapeSettings(image_size=128, train=300, val=60)


def _edge(distance: np.ndarray) -> np.ndarray:
    """Map a signed distance in pixels to [-1, 1], with a ramp of one pixel to avoid aliasing."""
    return np.clip(2 * distance, -1, 1)


def texture_field(texture: str, u: np.ndarray, v: np.ndarray, period: float) -> np.ndarray:
    """Evaluate a texture.

    Args:
        texture (str): One of ``TEXTURES``.
        u (np.ndarray): First coordinate, in periods.
        v (np.ndarray): Second coordinate, in periods.
        period (float): Period in pixels.

    Returns:
        np.ndarray: float64 in [-1, 1] of the shape of ``u`` and ``v``, with mean 0 over the plane.

    Raises:
        ValueError: If the texture is not one of ``TEXTURES``.
    """

    def bars(phase):
        return _edge(period * (0.25 - np.abs(phase % 1 - 0.5)))

    if texture == 'checked':
        return bars(u) * bars(v)
    if texture == 'dotted':
        # A disc of this radius covers half of its unit cell.
        return _edge(period * (np.sqrt(0.5 / np.pi) - np.hypot(u - np.rint(u), v - np.rint(v))))
    if texture == 'striped':
        return bars(u)
    if texture == 'wavy':
        return bars(u + 0.3 * np.sin(np.pi * v))
    raise ValueError(f'texture must be one of {TEXTURES}, but is {texture!r}.')


def form_distance(form: str, x: np.ndarray, y: np.ndarray, diameter: float) -> np.ndarray:
    """Compute the signed distance of points to a form around the origin, negative inside.

    Beyond the corners of square and triangle, the value is less than the distance; the outline itself is exact.

    Args:
        form (str): One of ``FORMS``.
        x (np.ndarray): Horizontal coordinate in pixels.
        y (np.ndarray): Vertical coordinate in pixels.
        diameter (float): Diameter in pixels of the disc with the area of the form.

    Returns:
        np.ndarray: Distances in pixels.

    Raises:
        ValueError: If the form is not one of ``FORMS``.
    """
    if form == 'disc':
        return np.hypot(x, y) - diameter / 2
    if form not in FORMS:
        raise ValueError(f'form must be one of {FORMS}, but is {form!r}.')
    sides = 4 if form == 'square' else 3
    inradius = diameter / 2 * np.sqrt(np.pi / (sides * np.tan(np.pi / sides)))
    normals = np.pi / 2 + 2 * np.pi * np.arange(sides) / sides
    return np.max([x * np.cos(angle) + y * np.sin(angle) for angle in normals], axis=0) - inradius


def _turned(x, y, angle):
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _paint(rng, texture, x, y, diameter, levels, contrast):
    """Draw a texture with random colours, phase, direction and scale: float64 (H, W, 3) in [0, 1]."""
    period = max(diameter / rng.uniform(*_PERIODS_PER_DIAMETER), _SMALLEST_PERIOD)
    u, v = _turned(x / period, y / period, rng.uniform(0, 2 * np.pi))
    field = texture_field(texture, u + rng.uniform(), v + rng.uniform(), period)
    # Mostly light against dark, with some hue: hue alone would make the textures needlessly hard to see.
    direction = rng.choice((-2, 2)) + rng.normal(size=3)
    swing = direction / np.linalg.norm(direction) * rng.uniform(*contrast) / 2
    return rng.uniform(*levels, size=3) + field[..., None] * swing


def _place(rng, form, x, y, size, diameter):
    """Signed distance in pixels to a form at a random place and rotation, entirely in the image: float64 (H, W)."""
    # The circumradius of the triangle is used for all forms, so that the place does not depend on the form.
    margin = diameter * np.sqrt(np.pi / np.sqrt(27))
    left, top = rng.uniform(margin, size - margin, size=2)
    return form_distance(form, *_turned(x - left, y - top, rng.uniform(-_TILT, _TILT)), diameter)


def _is_visible(mask, full_area):
    """Whether enough of a shape is visible, in one piece without holes, so that one polygon can describe it."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    return len(contours) == 1 and mask.sum() >= _LEAST_VISIBLE * full_area


def draw_image(
    rng: np.random.Generator, size: int, labels: Sequence[int], diameters: tuple[float, float]
) -> tuple[np.ndarray, list[np.ndarray], list[int]]:
    """Draw shapes on a background; later ones may partly cover earlier ones.

    A shape is omitted if no place is found that leaves enough of the others visible; the first is always drawn.

    Args:
        rng (np.random.Generator): Random generator.
        size (int): Side of the image in pixels.
        labels (Sequence[int]): Indices into ``CLASSES`` in drawing order.
        diameters (tuple[float, float]): Range of the diameters as fractions of ``size``, at most 0.64.

    Returns:
        tuple[np.ndarray, list[np.ndarray], list[int]]: RGB image of uint8 (size, size, 3), the visible part of each
        shape as a mask of bool (size, size), and the label of each shape.
    """
    y, x = np.mgrid[:size, :size] + 0.5
    ground = rng.choice(TEXTURES)
    canvas = _paint(rng, ground, x, y, size * rng.uniform(*diameters), _GROUND_LEVELS, _GROUND_CONTRAST)
    masks, areas, kept = [], [], []
    for label in labels:
        texture, form = CLASSES[label].split('_')
        for _ in range(_PLACES_TRIED):
            diameter = size * rng.uniform(*diameters)
            distance = _place(rng, form, x, y, size, diameter)
            shape = distance <= 0
            visible, full = [*(mask & ~shape for mask in masks), shape], [*areas, shape.sum()]
            if all(map(_is_visible, visible, full)):
                opacity = (1 - _edge(distance[..., None])) / 2
                paint = _paint(rng, texture, x, y, diameter, _SHAPE_LEVELS, _SHAPE_CONTRAST)
                canvas += opacity * (paint - canvas)
                masks, areas = visible, full
                kept.append(int(label))
                break
    canvas = canvas * rng.uniform(*_BRIGHTNESS) + rng.normal(scale=_NOISE, size=canvas.shape)
    return np.rint(255 * canvas.clip(0, 1)).astype(np.uint8), masks, kept


def draw_sample(
    layout: str, split: str, index: int, size: int, seed: int
) -> tuple[np.ndarray, list[np.ndarray], list[int]]:
    """Draw one image of a data set, see :func:`draw_image`.

    Args:
        layout (str): ``'imagenet'`` or ``'coco'``.
        split (str): ``'train'`` or ``'val'``.
        index (int): Index of the image in the split.
        size (int): Side of the image in pixels.
        seed (int): Seed of the data set.

    Returns:
        tuple[np.ndarray, list[np.ndarray], list[int]]: Image, masks and labels.
    """
    rng = np.random.default_rng([seed, _STREAMS[layout, split], index])
    if layout == 'imagenet':
        labels = [index % len(CLASSES)]
    else:
        labels = rng.integers(len(CLASSES), size=rng.integers(1, _MOST_SHAPES + 1))
    return draw_image(rng, size, labels, _DIAMETERS[layout])


def mask_polygon(mask: np.ndarray) -> list[float]:
    """Trace the outline [x0, y0, x1, y1, ...] in pixels of a connected bool mask (H, W), along pixel edges."""
    # OpenCV joins the centres of border pixels. Doubling each pixel gives its right and lower borders odd coordinates
    # and its left and upper borders even ones: halved and rounded up, both are edges of the pixel.
    doubled = mask.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    corners = (contours[0].reshape(-1, 2) + 1) // 2
    repeated = (corners == np.roll(corners, 1, axis=0)).all(axis=1)
    return corners[~repeated].astype(float).ravel().tolist()


def coco_annotation(mask: np.ndarray, label: int) -> dict:
    """Describe the visible mask (bool, (H, W)) of a shape by an annotation in COCO format without ids."""
    (top, bottom), (left, right) = (np.flatnonzero(mask.any(axis=axis))[[0, -1]].tolist() for axis in (1, 0))
    return dict(
        category_id=label + 1,
        segmentation=[mask_polygon(mask)],
        bbox=[left, top, right - left + 1, bottom - top + 1],
        area=int(mask.sum()),
        iscrowd=0,
    )


def _fill_imagenet(folder, split, settings):
    for name in CLASSES:
        (folder / split / name).mkdir(parents=True)
    for index in range(getattr(settings, split) * len(CLASSES)):
        image, _, (label,) = draw_sample('imagenet', split, index, settings.image_size, settings.seed)
        Image.fromarray(image).save(folder / split / CLASSES[label] / f'{index // len(CLASSES):05d}.png')


def _fill_coco(folder, split, settings):
    (folder / f'{split}2017').mkdir()
    images, annotations = [], []
    for index in range(getattr(settings, split)):
        image, masks, labels = draw_sample('coco', split, index, settings.image_size, settings.seed)
        name, (height, width, _) = f'{index + 1:012d}.png', image.shape
        Image.fromarray(image).save(folder / f'{split}2017' / name)
        images.append(dict(id=index + 1, file_name=name, height=height, width=width, license=1))
        for found in map(coco_annotation, masks, labels):
            annotations.append(dict(id=len(annotations) + 1, image_id=index + 1, **found))
    (folder / 'annotations').mkdir(exist_ok=True)
    for kind, classes in (('instances', CLASSES), ('forms', FORMS)):
        content = dict(
            info=dict(description='Textured shapes', version=str(_MAKER['version'])),
            licenses=[dict(id=1, name='Apache License 2.0', url='https://www.apache.org/licenses/LICENSE-2.0')],
            categories=[dict(id=i, name=name, supercategory=name.split('_')[-1]) for i, name in enumerate(classes, 1)],
            images=images,
            # The form changes fastest in CLASSES.
            annotations=[dict(one, category_id=(one['category_id'] - 1) % len(classes) + 1) for one in annotations],
        )
        (folder / 'annotations' / f'{kind}_{split}2017.json').write_text(json.dumps(content))


def _is_made(folder, record, overwrite):
    """Whether the set exists already; raises FileExistsError if the folder must not be replaced."""
    if not folder.exists():
        return False
    try:
        found = json.loads((folder / 'settings.json').read_text())
        replaceable = found['generator'] == record['generator']
    except (OSError, ValueError, LookupError, TypeError):
        replaceable = False
    if not replaceable:
        raise FileExistsError(f'{folder} was not made by this generator and is left alone; choose another folder.')
    if found != record and not overwrite:
        raise FileExistsError(f'{folder} has other settings: {found}; choose another folder or overwrite it.')
    return not overwrite


def _make(layout, fill, root, settings, overwrite, log):
    folder, record = Path(root) / layout, dict(_MAKER, layout=layout, **asdict(settings))
    if _is_made(folder, record, overwrite):
        log(f'{folder} holds this set already, nothing to do')
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Built in a temporary folder and moved at the end, so that an interrupted run leaves no incomplete set.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f'.{layout}-') as workshop:
        new = Path(workshop) / 'new'
        new.mkdir()
        for split in ('train', 'val'):
            log(f'{folder}: drawing {split} images')
            fill(new, split, settings)
        (new / 'settings.json').write_text(json.dumps(record, indent=2) + '\n')
        if folder.exists():
            folder.rename(Path(workshop) / 'old')
        new.rename(folder)
    return folder


def make_imagenet(
    root: Path, settings: ShapeSettings = IMAGENET_SETTINGS, overwrite: bool = False, log: Callable[[str], None] = print
) -> Path:
    """Write the classification set, ``<root>/imagenet/{train,val}/<class>/<number>.png``, unless it exists.

    Args:
        root (Path): Folder of all layouts, created if missing.
        settings (ShapeSettings): Image size, images per class and seed; stored in ``settings.json`` beside the images.
        overwrite (bool): Replace a set that was made before, even with other settings.
        log (Callable[[str], None]): Called with lines of progress.

    Returns:
        Path: Folder of the set.

    Raises:
        FileExistsError: If the folder holds a set with other settings, or anything else.
    """
    return _make('imagenet', _fill_imagenet, root, settings, overwrite, log)


def make_coco(
    root: Path, settings: ShapeSettings = COCO_SETTINGS, overwrite: bool = False, log: Callable[[str], None] = print
) -> Path:
    """Write the detection set, ``<root>/coco/{train2017,val2017,annotations}``, like :func:`make_imagenet`.

    Polygons, boxes and areas are those of the visible part of each shape. ``annotations/instances_*.json`` has the
    classes, ``annotations/forms_*.json`` the same objects with their forms alone.
    """
    return _make('coco', _fill_coco, root, settings, overwrite, log)


def contact_sheet(image_size: int, seed: int, columns: int = 8) -> Image.Image:
    """Show the first ``columns`` training images of each class of the classification set, one row per class."""
    cell, left = image_size + 4, 120
    sheet = Image.new('RGB', (left + columns * cell, len(CLASSES) * cell), 'white')
    pen = ImageDraw.Draw(sheet)
    for index in range(columns * len(CLASSES)):
        image, _, (label,) = draw_sample('imagenet', 'train', index, image_size, seed)
        sheet.paste(Image.fromarray(image), (left + index // len(CLASSES) * cell, label * cell + 2))
    for label, name in enumerate(CLASSES):
        pen.text((8, label * cell + cell // 3), name, fill='black')
    return sheet
