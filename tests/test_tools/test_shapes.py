"""The generated set of textured shapes: what it draws, writes and refuses."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tools.dataset_tools import shapes

TOOL = Path(__file__).parents[2] / 'tools' / 'dataset_tools' / 'make_shapes.py'
SMALL = shapes.ShapeSettings(image_size=32, train=2, val=1, seed=3)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


@pytest.fixture(scope='module')
def coco(tmp_path_factory) -> Path:
    return shapes.make_coco(tmp_path_factory.mktemp('shapes'), shapes.ShapeSettings(96, train=25, val=3, seed=1))


@pytest.mark.parametrize('make', [shapes.make_imagenet, shapes.make_coco])
def test_same_seed_same_bytes(tmp_path, make):
    first = contents(make(tmp_path / 'a', SMALL))
    assert contents(make(tmp_path / 'b', SMALL)) == first
    other = contents(make(tmp_path / 'c', shapes.ShapeSettings(32, 2, 1, seed=4)))
    assert other.keys() == first.keys()
    assert all(other[name] != first[name] for name in first if name.endswith('.png'))


@pytest.mark.parametrize('make', [shapes.make_imagenet, shapes.make_coco])
def test_images_do_not_depend_on_their_number(tmp_path, make):
    few = contents(make(tmp_path / 'few', SMALL))
    many = contents(make(tmp_path / 'many', shapes.ShapeSettings(32, train=4, val=3, seed=3)))
    images = [name for name in few if name.endswith('.png')]
    assert images and all(few[name] == many[name] for name in images)
    assert len({few[name] for name in images}) == len(images)


@pytest.mark.parametrize('texture', shapes.TEXTURES)
def test_textures_show_both_colours_equally(texture):
    # Off the pixel grid, where no point lies on an edge.
    u, v = (np.mgrid[:160, :160] + 0.3) / 8
    field = shapes.texture_field(texture, u, v, period=8)
    assert np.abs(field).max() <= 1
    assert abs(field.mean()) < 0.03
    assert abs((field > 0).mean() - 0.5) < 0.03


@pytest.mark.parametrize('form', shapes.FORMS)
@pytest.mark.parametrize('diameter', [20, 41.3])
@pytest.mark.parametrize('angle', [0.3, 0.7])
def test_areas_of_forms(form, diameter, angle):
    y, x = np.mgrid[-40:40, -40:40] + 0.5
    x, y = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    inside = shapes.form_distance(form, x, y, diameter) <= 0
    assert inside.sum() == pytest.approx(np.pi * diameter**2 / 4, abs=0.6 * diameter)


def test_forms_have_the_right_extent():
    """A square of side a has its corners at a / sqrt(2), a triangle of side a at a / sqrt(3) from the centre."""
    diameter, angles = 30, np.linspace(0, 2 * np.pi, 3600, endpoint=False)
    area = np.pi * diameter**2 / 4
    for form, radius in [
        ('disc', 15),
        ('square', np.sqrt(area / 2)),
        ('triangle', np.sqrt(4 * area / np.sqrt(3)) / np.sqrt(3)),
    ]:
        for scale, corners in [(0.999, True), (1.001, False)]:
            x, y = scale * radius * np.cos(angles), scale * radius * np.sin(angles)
            assert (shapes.form_distance(form, x, y, diameter) <= 0).any() == corners


@pytest.mark.parametrize('function', [shapes.texture_field, shapes.form_distance])
def test_unknown_names_are_refused(function):
    with pytest.raises(ValueError, match="must be one of .*, but is 'plaid'"):
        function('plaid', np.zeros(1), np.zeros(1), 8)


def test_mean_colour_does_not_tell_the_class():
    """Mean colours differ between classes, textures or forms no more than within them (analysis of variance)."""
    number = 40
    images = (shapes.draw_sample('imagenet', 'train', i, 32, 0)[0] for i in range(number * len(shapes.CLASSES)))
    colours = np.array([image.mean(axis=(0, 1)) for image in images]).reshape(number, 4, 3, 3)
    for groups in (colours.reshape(number, 12, 3), colours.mean(axis=2), colours.mean(axis=1)):
        between = number * groups.mean(axis=0).var(axis=0, ddof=1)
        within = groups.var(axis=0, ddof=1).mean(axis=0)
        assert (between / within).max() < 4


def test_image_shows_two_colours_in_and_out_of_the_shape():
    image, (mask,), (label,) = shapes.draw_sample('imagenet', 'val', 6, 64, 0)
    assert image.shape == (64, 64, 3) and image.dtype == np.uint8
    assert shapes.CLASSES[label] == 'striped_disc'
    diameter = np.sqrt(4 * mask.sum() / np.pi) / 64
    assert 0.44 < diameter < 0.65
    assert image[mask].std(axis=0).max() > image[~mask].std(axis=0).max()


def test_imagenet_layout(tmp_path):
    folder = shapes.make_imagenet(tmp_path, SMALL)
    assert folder == tmp_path / 'imagenet'
    for split, number in (('train', 2), ('val', 1)):
        assert sorted(path.name for path in (folder / split).iterdir()) == list(shapes.CLASSES)
        for name in shapes.CLASSES:
            files = sorted(path.name for path in (folder / split / name).iterdir())
            assert files == [f'{i:05d}.png' for i in range(number)]
    with Image.open(folder / 'train' / 'wavy_square' / '00001.png') as image:
        assert image.mode == 'RGB' and image.size == (32, 32)
        drawn, _, labels = shapes.draw_sample('imagenet', 'train', 12 + shapes.CLASSES.index('wavy_square'), 32, 3)
        assert labels == [10]
        np.testing.assert_array_equal(np.asarray(image), drawn)


def test_coco_annotations_match_visible_masks(coco):
    instances = json.loads((coco / 'annotations' / 'instances_train2017.json').read_text())
    assert [(c['id'], c['name']) for c in instances['categories']] == list(enumerate(shapes.CLASSES, 1))
    assert [a['id'] for a in instances['annotations']] == list(range(1, len(instances['annotations']) + 1))
    assert len(instances['images']) == 25
    for index, info in enumerate(instances['images']):
        assert info == dict(id=index + 1, file_name=f'{index + 1:012d}.png', height=96, width=96, license=1)
        pixels, masks, labels = shapes.draw_sample('coco', 'train', index, 96, 1)
        with Image.open(coco / 'train2017' / info['file_name']) as image:
            np.testing.assert_array_equal(np.asarray(image), pixels)
        found = [a for a in instances['annotations'] if a['image_id'] == info['id']]
        assert 1 <= len(found) <= 5
        assert [a['category_id'] - 1 for a in found] == labels
        assert np.sum(masks, axis=0).max() == 1
        for annotation, mask in zip(found, masks, strict=True):
            rows, columns = np.nonzero(mask)
            assert annotation['bbox'] == [
                columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1
            ]
            assert annotation['area'] == mask.sum()
            assert annotation['iscrowd'] == 0
            x, y = np.reshape(annotation['segmentation'][0], (-1, 2)).T
            assert abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2 == mask.sum()


@pytest.mark.parametrize('split', ['train', 'val'])
def test_the_same_objects_by_their_forms(coco, split):
    instances, forms = (json.loads((coco / 'annotations' / f'{kind}_{split}2017.json').read_text())
                        for kind in ('instances', 'forms'))
    assert forms['images'] == instances['images']
    assert [(c['id'], c['name']) for c in forms['categories']] == list(enumerate(shapes.FORMS, 1))
    for one, whole in zip(forms['annotations'], instances['annotations'], strict=True):
        form = shapes.CLASSES[whole['category_id'] - 1].split('_')[1]
        assert one == dict(whole, category_id=shapes.FORMS.index(form) + 1)


@pytest.mark.parametrize('split', ['train', 'val'])
def test_coco_polygons_decode_to_visible_masks(coco, split):
    api = pytest.importorskip('pycocotools.coco').COCO(coco / 'annotations' / f'instances_{split}2017.json')
    for image_id in api.getImgIds():
        _, masks, _ = shapes.draw_sample('coco', split, image_id - 1, 96, 1)
        for annotation, mask in zip(api.loadAnns(api.getAnnIds(image_id)), masks, strict=True):
            decoded = api.annToMask(annotation).astype(bool)
            assert (decoded & mask).sum() / (decoded | mask).sum() > 0.95


def test_shapes_stay_visible_in_one_piece():
    cv2 = pytest.importorskip('cv2')
    for index in range(30):
        _, masks, labels = shapes.draw_sample('coco', 'val', index, 64, 5)
        for position, (mask, label) in enumerate(zip(masks, labels, strict=True)):
            contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
            assert len(contours) == 1, (index, position, label)
            assert mask.sum() > 0.3 * np.pi * (0.19 * 64) ** 2 / 4


def test_mask_polygon():
    mask = np.zeros((6, 7), bool)
    mask[1:4, 2] = mask[3, 2:5] = True
    polygon = np.reshape(shapes.mask_polygon(mask), (-1, 2)).tolist()
    corners = [[2, 1], [2, 4], [5, 4], [5, 3], [3, 3], [3, 1]]
    start = polygon.index([2, 1])
    assert polygon[start:] + polygon[:start] == corners


@pytest.mark.parametrize('function', ['make_imagenet', 'make_coco'])
def test_interrupted_run_leaves_nothing(tmp_path, monkeypatch, function):
    draw = shapes.draw_sample

    def fail_late(layout, split, index, size, seed):
        if split == 'val':
            raise KeyboardInterrupt
        return draw(layout, split, index, size, seed)

    monkeypatch.setattr(shapes, 'draw_sample', fail_late)
    with pytest.raises(KeyboardInterrupt):
        getattr(shapes, function)(tmp_path, SMALL)
    assert list(tmp_path.iterdir()) == []


def test_complete_set_is_kept(tmp_path, monkeypatch):
    folder = shapes.make_imagenet(tmp_path, SMALL)
    monkeypatch.setattr(shapes, 'draw_sample', None)
    lines = []
    assert shapes.make_imagenet(tmp_path, SMALL, log=lines.append) == folder
    assert lines == [f'{folder} holds this set already, nothing to do']


def test_other_set_is_refused_or_overwritten(tmp_path):
    folder = shapes.make_imagenet(tmp_path, SMALL)
    before = contents(folder)
    other = shapes.ShapeSettings(32, train=1, val=1)
    with pytest.raises(FileExistsError, match="other settings: .*'seed': 3"):
        shapes.make_imagenet(tmp_path, other)
    assert contents(folder) == before
    shapes.make_imagenet(tmp_path, other, overwrite=True)
    assert contents(folder) == contents(shapes.make_imagenet(tmp_path / 'fresh', other))
    assert sorted(path.name for path in tmp_path.iterdir()) == ['fresh', 'imagenet']


@pytest.mark.parametrize('record', [None, '{}', '[]', 'no json', '{"generator": "another"}'])
def test_foreign_folder_is_never_overwritten(tmp_path, record):
    (tmp_path / 'coco').mkdir()
    (tmp_path / 'coco' / 'precious').write_text('data')
    if record is not None:
        (tmp_path / 'coco' / 'settings.json').write_text(record)
    with pytest.raises(FileExistsError, match='was not made by this generator'):
        shapes.make_coco(tmp_path, SMALL, overwrite=True)
    assert (tmp_path / 'coco' / 'precious').read_text() == 'data'


@pytest.mark.parametrize('name, value', [
    ('image_size', 15), ('train', 0), ('val', -1), ('seed', -1), ('image_size', 32.0),
])
def test_bad_settings(name, value):
    with pytest.raises(ValueError, match=f'^{name} must be an integer of at least .*{value!r}.$'):
        shapes.ShapeSettings(**(dict(image_size=32, train=1, val=1, seed=0) | {name: value}))


def test_contact_sheet_shows_training_images():
    sheet = np.asarray(shapes.contact_sheet(32, seed=3, columns=2))
    image, _, _ = shapes.draw_sample('imagenet', 'train', 12 + 5, 32, 3)
    assert sheet.shape == (12 * 36, 120 + 2 * 36, 3)
    np.testing.assert_array_equal(sheet[5 * 36 + 2:5 * 36 + 34, 120 + 36:120 + 68], image)
    names = sheet[:, :120].reshape(12, -1)
    assert (names.min(axis=1) < 128).all()


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the tool; the message that it ends with, empty if all went well, and what it prints."""
    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['make_shapes.py', *map(str, arguments)])
        monkeypatch.syspath_prepend(TOOL.parent)  # where the tool finds ``shapes``, as when run as a script
        message = ''
        try:
            runpy.run_path(str(TOOL), run_name='__main__')
        except SystemExit as error:
            message = error.code  # which Python would print
        return message, capsys.readouterr().out

    return run


def test_tool(run, tmp_path):
    out, preview = tmp_path / 'deep' / 'shapes', tmp_path / 'sheet.png'
    arguments = ['--out', out, '--seed', 7, '--preview', preview, '--image-size', 24, '--train-per-class', 2]
    arguments += ['--val-per-class', 1, '--det-image-size', 40, '--det-train', 3, '--det-val', 2]
    message, printed = run(*arguments)
    assert not message
    assert f'{out / "imagenet"}: 24 training and 12 validation images' in printed
    assert f'{out / "coco"}: 3 training and 2 validation images' in printed
    assert 'wavy_triangle' in printed
    assert len(list(out.glob('imagenet/train/*/*.png'))) == 24
    assert len(list(out.glob('imagenet/val/*/*.png'))) == 12
    assert len(list(out.glob('coco/train2017/*.png'))) == 3
    assert len(list(out.glob('coco/val2017/*.png'))) == 2
    with Image.open(preview) as sheet:
        assert sheet.height == 12 * 28

    message, printed = run(*arguments)
    assert not message and printed.count('nothing to do') == 2
    assert 'other settings' in run(*arguments, '--seed', 8)[0]
    assert not run(*arguments, '--seed', 8, '--overwrite')[0]


def test_tool_refuses_bad_input_before_drawing(run, tmp_path):
    message, _ = run('--out', tmp_path / 'shapes', '--det-image-size', 8)
    assert message == '\nStopped: image_size must be an integer of at least 16, but is 8.'
    assert not (tmp_path / 'shapes').exists()
