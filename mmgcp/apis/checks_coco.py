"""Check COCO files for what their use needs, and their classes against those of data sets and heads."""
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmengine.config import Config

from mmgcp.datasets.class_folders import describe_difference, some
from mmgcp.utils.errors import SetupError

from .config_data import class_names, labelled

# What MMDetection reads of each part, and what evaluation reads beside it.
_KEYS = {'images': ('id', 'file_name', 'width', 'height'), 'categories': ('id', 'name'),
         'annotations': ('id', 'image_id', 'category_id', 'bbox', 'area')}
_EVALUATED = ('iscrowd', )
_NUMBERS = {'width', 'height', 'bbox', 'area', 'category_id'}
_CROWD = 'are crowds'


def check_coco_files(cfg: Config, splits: Sequence[str]) -> list[str]:
    """Check the COCO files of a config, and compare their categories with the classes of data sets and heads.

    MMDetection numbers classes in the order of the file, but names them in that of ``metainfo.classes``: in another
    order, labels would be mixed up. Reading takes some 15 s for COCO's training set, and MMDetection reads it again.
    """
    notes = []
    for split, dataset, file in labelled(cfg, splits, 'coco'):
        # Files for a test server, such as image_info_test-dev2017.json, have no annotations.
        content = _read(file, [part for part in _KEYS if part != 'annotations' or split != 'test'])
        boxes, classes = content.get('annotations', []), _classes(dataset)
        for part, keys in _KEYS.items():
            keys = keys + _EVALUATED if part == 'annotations' and split != 'train' else keys
            _check_keys(file, part, content.get(part, []), keys)
            if 'id' in keys:
                _check_ids(file, part, content.get(part, []))
        setting = f'{split}_dataloader.dataset.metainfo.classes'
        if not classes:
            raise SetupError(f'{setting} is empty: name the categories of {file} that count')
        _compare(file, content['categories'], classes, setting)
        _check_heads(cfg.get('model', {}), classes)
        images = {image['id'] for image in content['images']}
        if boxes and images.isdisjoint(box['image_id'] for box in boxes):
            raise SetupError(f"no box in {file} belongs to an image there: image_id={boxes[0]['image_id']!r} is none "
                             f'of the ids of images, such as {next(iter(images), None)!r}')
        if split == 'train':
            boxes, note = _trained_on(file, content, classes)
            least = (dataset.get('filter_cfg') or {}).get('min_size', 0)
            small = sum(min(image['width'], image['height']) < least for image in content['images'])
            notes += note
            if small:
                notes.append(f"{small} of {len(content['images'])} images in {file} are not trained on: a side is "
                             f'below filter_cfg.min_size={least}')
        bare = sum(not _has_outline(box, split) for box in boxes)
        if bare and any(step.get('with_mask') for step in dataset.get('pipeline', ())):
            raise SetupError(f'{bare} of {len(boxes)} boxes in {file} have no outline (segmentation), which masks '
                             'need, of three points or more: leave them out, or use a network without masks')
    return notes


def _read(file: Path, parts: Sequence[str]) -> dict:
    if not file.is_file():
        raise SetupError(f'the annotation file {file} does not exist')
    text = file.read_bytes()
    encoding = json.detect_encoding(text)
    if encoding != 'utf-8':
        raise SetupError(f'{file} is in {encoding}: save it as plain UTF-8, without a byte order mark')
    try:
        content = json.loads(text)
    except ValueError as error:
        raise SetupError(f'{file} is not a COCO annotation file, or was cut off: {error}') from error
    for part in parts:
        entries = content.get(part) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise SetupError(f'{file} is not a COCO annotation file: it has no list of {part}')
    return content


def _check_ids(file: Path, part: str, entries: Sequence[dict]) -> None:
    repeated = [number for number, count in Counter(entry['id'] for entry in entries).items() if count > 1]
    if repeated:
        raise SetupError(f'{len(repeated)} ids of {part} in {file} occur more than once, {repeated[0]} for one: the '
                         'last entry would replace the others, as after merging files: number them anew')


def _check_keys(file: Path, part: str, entries: Sequence[dict], keys: Sequence[str]) -> None:
    for key in keys:
        lacking = sum(entry.get(key) is None or (key == 'bbox' and not _is_box(entry[key])) for entry in entries)
        if lacking:
            raise SetupError(f'{lacking} of {len(entries)} {part} in {file} have no {key}')
        wrong = [entry[key] for entry in entries if not _fits(key, entry[key])]
        if wrong:
            raise SetupError(f'{len(wrong)} of {len(entries)} {part} in {file} have no number as {key}, '
                             f'{wrong[0]!r} for one')


def _is_box(value: object) -> bool:
    return isinstance(value, list) and len(value) == 4


def _fits(key: str, value: object) -> bool:
    if key not in _NUMBERS:
        return isinstance(value, (int, float, str))
    return all(isinstance(number, (int, float)) for number in (value if key == 'bbox' else [value]))


def _has_outline(box: dict, split: str) -> bool:
    """Whether a box has an outline: run lengths, or polygons; MMDetection drops bad ones, evaluation fails on any."""
    outline = box.get('segmentation')
    if isinstance(outline, dict):
        return bool(outline.get('counts')) and len(outline.get('size', ())) == 2
    if not isinstance(outline, list):
        return False
    good = [isinstance(polygon, list) and len(polygon) >= 6 and len(polygon) % 2 == 0 for polygon in outline]
    return any(good) if split == 'train' else bool(good) and all(good)


def _trained_on(file: Path, content: dict, classes: Sequence[str]) -> tuple[list[dict], list[str]]:
    """Return the boxes that MMDetection trains on, and notes on the others."""
    images = {image['id']: image for image in content['images']}
    names = {category['id']: category['name'] for category in content['categories']}
    # Boxes of further categories are left out on purpose.
    boxes = [box for box in content['annotations'] if names.get(box['category_id'], classes[0]) in classes]
    reasons = [_reason_to_leave_out(box, images, names) for box in boxes]
    kept = [box for box, reason in zip(boxes, reasons, strict=True) if not reason]
    told = ', '.join(f'{number} {reason}' for reason, number in Counter(filter(None, reasons)).items())
    # Crowds are left out on purpose.
    meant = [box for box, reason in zip(boxes, reasons, strict=True) if reason != _CROWD]
    there, trained = ({names.get(box['category_id']) for box in part} for part in (meant, kept))
    empty = there - trained - {None}
    if empty:
        raise SetupError(f'no box of {some(empty)} in {file} can be trained on: of all classes, {told}; set area to '
                         'the width times the height of the box, or to that of its outline')
    if not kept:
        raise SetupError(f'{file} has no box to train on' + (f': of {len(boxes)}, {told}' if told else ''))
    unseen = set(classes) - there
    by_mistake = set(reasons) - {'', _CROWD}
    notes = {f'{len(boxes) - len(kept)} of {len(boxes)} boxes in {file} are not trained on: {told}': by_mistake,
             f'{file} has no box to train on of {len(unseen)} of {len(classes)} classes: {some(unseen)}': unseen}
    return kept, [note for note, applies in notes.items() if applies]


def _reason_to_leave_out(box: dict, images: dict, names: dict) -> str:
    """Say why MMDetection leaves a box out; empty if it does not."""
    x, y, width, height = box['bbox']
    image = images.get(box['image_id'])
    if image is None or box['category_id'] not in names:
        return 'name an image or a category that the file does not have'
    if box.get('ignore'):
        return 'are marked to be ignored'
    if box.get('iscrowd'):
        return _CROWD
    if box['area'] <= 0 or min(width, height) < 1:
        return 'have area 0, or a side below 1 pixel'
    outside = min(x + width, image['width']) <= max(x, 0) or min(y + height, image['height']) <= max(y, 0)
    return 'lie outside their image' if outside else ''


def _classes(dataset: dict) -> tuple[str, ...]:
    from mmdet.datasets import CocoDataset  # an optional dependency
    return class_names((dataset.get('metainfo') or {}).get('classes', CocoDataset.METAINFO['classes']))


def _compare(file: Path, categories: list[dict], classes: tuple[str, ...], setting: str) -> None:
    names = [entry['name'] for entry in categories]
    if set(classes).difference(names):
        raise SetupError(f'the {len(names)} categories in {file} are not the {len(classes)} of {setting}: '
                         f'{describe_difference(names, classes)}')
    twice = {name for name in classes if names.count(name) > 1}
    if twice:
        raise SetupError(f'{len(twice)} categories in {file} have several ids: {some(twice)}')
    texts = {entry['name'] for entry in categories if not isinstance(entry['id'], int)}
    if texts:
        raise SetupError(f'the ids of {len(texts)} categories in {file} are no integers: {some(texts)}')
    in_file = [name for name in names if name in classes]
    if in_file != list(classes):
        raise SetupError(f'the categories in {file} come in another order than {setting}, so that MMDetection would '
                         f'take the labels of one class for those of another: set it to {tuple(in_file)}')


def _check_heads(model: dict, classes: tuple[str, ...]) -> None:
    if 'language_model' in model:  # its heads compare with text
        return
    for where, head in _heads(model, 'model'):
        if head.get('num_classes', len(classes)) != len(classes):
            raise SetupError(f"{where}.num_classes={head['num_classes']}, but the data sets have {len(classes)} "
                             f'classes ({some(classes)}): set both alike, the classes in metainfo.classes')


def _heads(model: dict, where: str) -> Iterator[tuple[str, dict]]:
    """Yield the heads that classify, with their place in the config; each stage of a cascade has one."""
    for key, value in model.items():
        for part in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(part, dict):
                if key == 'bbox_head' or (key == 'mask_head' and not part.get('class_agnostic')):
                    yield f'{where}.{key}', part
                yield from _heads(part, f'{where}.{key}')
