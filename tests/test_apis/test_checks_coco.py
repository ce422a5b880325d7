import json

import pytest
from mmengine.config import Config

from mmgcp.apis.checks_coco import check_coco_files
from mmgcp.utils.errors import SetupError

datasets = pytest.importorskip('mmdet.datasets')
NAMES = ['ant', 'bee', 'cat']
BOX = dict(bbox=[1, 1, 20, 20], area=400, iscrowd=0, segmentation=[[0, 0, 9, 0, 9, 9]])


def content(names=NAMES, ids=None, boxes=(BOX, BOX, BOX), **others):
    """A COCO file with one box of each class."""
    ids = ids or [NAMES.index(name) + 1 if name in NAMES else 9 for name in names]
    return dict(dict(
        images=[dict(id=1, file_name='1.jpg', height=50, width=50)],
        annotations=[dict(dict(id=i, image_id=1, category_id=i), **box) for i, box in enumerate(boxes, 1)],
        categories=[dict(id=i, name=name) for i, name in zip(ids, names, strict=True)]), **others)


@pytest.fixture
def check(tmp_path):
    def check(written, split='train', masks=False, outputs=3, encoding='utf-8', classes=NAMES):
        text = written if isinstance(written, str) else json.dumps(written)
        (tmp_path / 'ann.json').write_text(text, encoding=encoding)
        dataset = dict(type='CocoDataset', data_root=str(tmp_path), ann_file='ann.json', data_prefix=dict(img=''),
                       metainfo=dict(classes=classes), pipeline=[dict(type='LoadAnnotations', with_mask=masks)])
        heads = dict(bbox_head=[dict(num_classes=3), dict(num_classes=outputs)], mask_head=dict(num_classes=3))
        wrapped = dict(type='ConcatDataset', datasets=[dataset])
        return check_coco_files(
            Config({'model': dict(roi_head=heads), f'{split}_dataloader': dict(dataset=wrapped)}), [split])

    return check


def labels(folder):
    data = datasets.CocoDataset(data_root=str(folder), ann_file='ann.json', data_prefix=dict(img=''),
                                metainfo=dict(classes=NAMES), test_mode=True)
    return [instance['bbox_label'] for instance in data[0]['instances']]


def without(key, part=BOX):
    return {name: value for name, value in part.items() if name != key}


def test_whole_files(check):
    text = json.dumps(content(), indent=1)
    for whole in (text, text + '\n\n', '\n ' + text, text + ' ' * 999):
        assert check(whole) == check(whole, 'val') == []


def test_classes_in_a_file(check, tmp_path):
    (tmp_path / 'classes.txt').write_text('\n'.join(NAMES))
    assert check(content(), classes=str(tmp_path / 'classes.txt')) == []


@pytest.mark.parametrize('broken, reason', [
    ('', 'was cut off: Expecting value'), ('<html>', 'was cut off: Expecting value'), ('[]', 'has no list of images'),
    (json.dumps(content())[:-1], "was cut off: Expecting ',' delimiter: line 1 column"),
    (json.dumps(content())[:200].rpartition('}')[0] + '}', 'was cut off'),
    (json.dumps(without('categories', content())), 'has no list of categories')])
def test_what_is_no_coco_file(broken, reason, check):
    with pytest.raises(SetupError, match=f'ann.json is not a COCO annotation file.*{reason}'):
        check(broken)


@pytest.mark.parametrize('encoding', ['utf-16', 'utf-16-le', 'utf-8-sig'])
def test_encoding_is_named(encoding, check):
    with pytest.raises(SetupError, match=f'ann.json is in {encoding}: save it as plain UTF-8'):
        check(content(), encoding=encoding)


def test_images_for_a_test_server_have_no_annotations(check):
    written = without('annotations', content())
    assert check(written, 'test', masks=True) == []
    with pytest.raises(SetupError, match='has no list of annotations'):
        check(written, 'val')


@pytest.mark.parametrize('split, key', [
    *[('train', key) for key in ('area', 'image_id', 'category_id', 'bbox', 'id')], ('val', 'iscrowd')])
def test_keys_of_some_annotations(split, key, check):
    written = content()
    del written['annotations'][1][key]
    with pytest.raises(SetupError, match=f'1 of 3 annotations in .*ann.json have no {key}$'):
        check(written, split)


@pytest.mark.parametrize('part, key', [('images', 'width'), ('images', 'file_name'), ('categories', 'id')])
def test_keys_of_images_and_categories(part, key, check):
    written = content()
    del written[part][0][key]
    with pytest.raises(SetupError, match=rf'1 of \d {part} in .*ann.json have no {key}$'):
        check(written)


@pytest.mark.parametrize('key, value, said', [
    ('bbox', 5, 'have no bbox'), ('bbox', ['a', 1, 2, 3], r"have no number as bbox, \['a', 1, 2, 3\] for one"),
    ('area', '12', "have no number as area, '12' for one"), ('category_id', '2', 'have no number as category_id'),
    ('id', [1], r'have no number as id, \[1\] for one')])
def test_values_that_are_no_numbers(key, value, said, check):
    with pytest.raises(SetupError, match=f'1 of 3 annotations in .*ann.json {said}'):
        check(content(boxes=[BOX, BOX, {**BOX, key: value}]))


def test_a_file_without_boxes_to_train_on(check):
    with pytest.raises(SetupError, match='ann.json has no box to train on$'):
        check(content(boxes=[]))
    assert check(content(boxes=[]), 'val') == []


def test_keys_that_are_not_needed(check):
    assert check(content(boxes=[without('iscrowd')] * 3)) == check(content(boxes=[without('segmentation')] * 3)) == []


@pytest.mark.parametrize('split', ['train', 'val'])
@pytest.mark.parametrize('box', [without('segmentation'), dict(BOX, segmentation=[])])
def test_outlines(split, box, check):
    assert check(content(boxes=[BOX, box, BOX]), split) == []
    with pytest.raises(SetupError, match=r'1 of 3 boxes in .* have no outline \(segmentation\), which masks need'):
        check(content(boxes=[BOX, box, BOX]), split, masks=True)
    # One without area is not read.
    assert len(check(content(boxes=[BOX, BOX, BOX, dict(box, area=0, category_id=1)]), masks=True)) == 1


@pytest.mark.parametrize('outline, train, val', [
    ([[1, 2]], False, False), ([[1, 2, 3, 4]], False, False), ([[0, 0, 9, 0, 9, 9, 4]], False, False),
    ([[1, 2], [0, 0, 9, 0, 9, 9]], True, False), (dict(counts='abc', size=[50, 50]), True, True),
    (dict(counts=[9, 3], size=[]), False, False), (dict(size=[50, 50]), False, False), ('abc', False, False)])
def test_outlines_of_fewer_than_three_points(outline, train, val, check):
    written = content(boxes=[BOX, dict(BOX, segmentation=outline), BOX])
    for split, whole in (('train', train), ('val', val)):
        if whole:
            assert check(written, split, masks=True) == []
        else:
            with pytest.raises(SetupError, match='1 of 3 boxes in .* have no outline'):
                check(written, split, masks=True)


@pytest.mark.parametrize('split', ['train', 'val'])
def test_boxes_of_no_image(split, check):
    with pytest.raises(SetupError, match="image_id='1' is none of the ids of images, such as 1$"):
        check(content(boxes=[dict(BOX, image_id='1')] * 3), split)
    check(content(boxes=[BOX, BOX, BOX, dict(BOX, image_id=7, category_id=1)]), split)  # as of images that were removed


def test_boxes_that_are_left_out(check, tmp_path):
    further = [dict(BOX, category_id=2, area=0), dict(BOX, category_id=2, area=0.), dict(BOX, bbox=[60, 1, 9, 9]),
               dict(BOX, bbox=[1, 1, 9, .5]), dict(BOX, bbox=[1, 1, 0, 9]),
               dict(BOX, ignore=1), dict(BOX, category_id=8), dict(BOX, image_id=7)]
    written = content(boxes=[BOX, BOX, BOX, *(dict(dict(category_id=1), **box) for box in further)])
    note, = check(written)
    assert note.partition('ann.json ')[2] == (
        'are not trained on: 4 have area 0, or a side below 1 pixel, 1 lie outside their image, 1 are marked to be '
        'ignored, 2 name an image or a category that the file does not have')
    assert note.startswith('8 of 11 boxes in ') and len(labels(tmp_path)) == 3
    assert check(written, 'val') == []


def test_a_class_whose_boxes_are_all_left_out(check):
    with pytest.raises(SetupError, match=r'no box of bee in .* can be trained on: of all classes, 1 have area 0'):
        check(content(boxes=[BOX, dict(BOX, area=0), BOX]))
    with pytest.raises(SetupError, match=r'no box of bee in .* can be trained on'):
        check(content(boxes=[BOX, dict(BOX, area=0), BOX, dict(BOX, iscrowd=1, category_id=2)]))
    assert check(content(boxes=[BOX]))[0].endswith('has no box to train on of 2 of 3 classes: bee, cat')


def test_crowds_are_left_out_on_purpose(check):
    """A few images of COCO may show only a crowd of some class."""
    assert check(content(boxes=[BOX, BOX, BOX, dict(BOX, iscrowd=1, category_id=2)])) == []
    note, = check(content(boxes=[BOX, dict(BOX, iscrowd=1), BOX]))
    assert note.endswith('has no box to train on of 1 of 3 classes: bee')
    with pytest.raises(SetupError, match=r'has no box to train on: of 3, 3 are crowds'):
        check(content(boxes=[dict(BOX, iscrowd=1)] * 3))


def test_no_classes(check):
    with pytest.raises(SetupError, match=r'train_dataloader.dataset.metainfo.classes is empty: name the categories'):
        check(content(), classes=())


def test_images_that_are_too_small_are_counted(tmp_path):
    images = [dict(id=1, file_name='1.jpg', height=50, width=50), dict(id=2, file_name='2.jpg', height=31, width=50)]
    (tmp_path / 'ann.json').write_text(json.dumps(content(images=images)))
    dataset = dict(type='CocoDataset', ann_file=str(tmp_path / 'ann.json'), metainfo=dict(classes=NAMES),
                   filter_cfg=dict(filter_empty_gt=True, min_size=32))
    note, = check_coco_files(Config(dict(train_dataloader=dict(dataset=dataset))), ['train'])
    assert note.startswith('1 of 2 images in ') and note.endswith('a side is below filter_cfg.min_size=32')


def test_another_order_would_give_boxes_the_labels_of_others(check, tmp_path):
    check(content(['dog', *NAMES]))  # a category more is left out
    assert labels(tmp_path) == [0, 1, 2]
    with pytest.raises(SetupError, match=r'come in another order than train_dataloader.dataset.metainfo.classes, .*: '
                       r"set it to \('cat', 'ant', 'bee'\)"):
        check(content(['cat', 'dog', 'ant', 'bee']))
    assert labels(tmp_path) != [0, 1, 2]


def test_names_that_differ(check):
    with pytest.raises(SetupError, match=r'the 3 categories in .*ann.json are not the 3 of '
                       r'train_dataloader.dataset.metainfo.classes: 1 missing \(bee\) and 1 unknown \(Bee\)'):
        check(content(['ant', 'Bee', 'cat']))


def test_ids(check):
    merged = content(NAMES)
    merged['images'] = [*merged['images'], dict(merged['images'][0], file_name='of_another_file.jpg')]
    with pytest.raises(SetupError, match=r'1 ids of images in .* occur more than once, \S+ for one: the last entry'):
        check(merged)
    with pytest.raises(SetupError, match=r'the ids of 3 categories in .* are no integers: ant, bee, cat'):
        check(content(NAMES, ['1', '2', '3']))
    with pytest.raises(SetupError, match=r'1 categories in .* have several ids: cat'):
        check(content([*NAMES, 'cat'], [1, 2, 3, 4]))


def test_number_of_outputs(check):
    with pytest.raises(SetupError, match=r'roi_head.bbox_head.num_classes=12, but the data sets have 3 classes'):
        check(content(), outputs=12)


@pytest.mark.parametrize('agnostic', [True, False])
def test_number_of_masks(agnostic, tmp_path):
    (tmp_path / 'ann.json').write_text(json.dumps(content()))
    dataset = dict(type='CocoDataset', ann_file=str(tmp_path / 'ann.json'), metainfo=dict(classes=NAMES))
    heads = dict(mask_head=dict(num_classes=12, class_agnostic=agnostic))
    cfg = Config(dict(model=dict(roi_head=heads), train_dataloader=dict(dataset=dataset)))
    if agnostic:
        assert check_coco_files(cfg, ['train']) == []
    else:
        with pytest.raises(SetupError, match='roi_head.mask_head.num_classes=12, but the data sets have 3 classes'):
            check_coco_files(cfg, ['train'])
