import json

import pytest
from mmengine.config import Config

from mmgcp.apis.checks_annotations import check_annotations
from mmgcp.utils.errors import SetupError

ANNOTATION = dict(id=1, image_id=1, category_id=1, bbox=[0, 0, 9, 9], area=81, iscrowd=0,
                  segmentation=[[0, 0, 9, 0, 9, 9]])


def check_coco(folder, annotations, split='val', masks=True):
    (folder / 'ann.json').write_text(json.dumps(dict(
        images=[dict(id=1, file_name='1.jpg', width=9, height=9)], annotations=annotations,
        categories=[dict(id=1, name='ant')]), indent=1))
    dataset = dict(type='CocoDataset', data_root=str(folder), ann_file='ann.json',
                   pipeline=[dict(type='LoadAnnotations', with_mask=masks)])
    check_annotations(Config({f'{split}_dataloader': dict(dataset=dataset)}), [split])


def without(key):
    return {name: value for name, value in ANNOTATION.items() if name != key}


def test_coco_keys(tmp_path):
    check_coco(tmp_path, [ANNOTATION])
    check_coco(tmp_path, [])
    check_coco(tmp_path, [without('iscrowd')], 'train')
    check_coco(tmp_path, [without('segmentation')], masks=False)
    for key in ('iscrowd', 'area', 'image_id', 'category_id', 'bbox', 'segmentation'):
        with pytest.raises(SetupError, match=f'no image or annotation in .*ann.json has {key}$'):
            check_coco(tmp_path, [without(key)])
    with pytest.raises(SetupError, match='have an empty segmentation, which masks need'):
        check_coco(tmp_path, [ANNOTATION, dict(ANNOTATION, segmentation=[])], 'train')
    check_coco(tmp_path, [dict(ANNOTATION, segmentation=[])], masks=False)


@pytest.mark.parametrize('area', [0, 0.0])
def test_boxes_without_area(tmp_path, area):
    check_coco(tmp_path, [dict(ANNOTATION, area=area), dict(ANNOTATION, area=0.5)])
    with pytest.raises(SetupError, match='all annotations in .* have area 0'):
        check_coco(tmp_path, [dict(ANNOTATION, area=area)] * 2)


def check_list(folder, text, **settings):
    (folder / 'list.txt').write_text(text)
    dataset = dict(dict(type='CustomDataset', data_root=str(folder), ann_file='list.txt', data_prefix=''), **settings)
    check_annotations(Config(dict(model=dict(head=dict(num_classes=3)), train_dataloader=dict(dataset=dataset))),
                      ['train'])


def test_image_lists(tmp_path):
    check_list(tmp_path, 'a.jpg 0\nb c.jpg 2\n')
    check_list(tmp_path, 'a.jpg\n', with_label=False)
    with pytest.raises(SetupError, match='no.txt does not exist'):
        check_list(tmp_path, '', ann_file='no.txt')


@pytest.mark.parametrize('line', ['b.jpg', 'b.jpg,1', 'b.jpg dog', 'b.jpg -1', ''])
def test_lines_that_are_none(tmp_path, line):
    with pytest.raises(SetupError, match=rf"line 2 of .*list.txt is '{line}': it must be the path of an image"):
        check_list(tmp_path, f'a.jpg 0\n{line}\n')


def test_labels_beyond_the_head(tmp_path):
    with pytest.raises(SetupError, match='line 1 of .* has class 3, but model.head.num_classes=3 has classes 0 to 2'):
        check_list(tmp_path, 'a.jpg 3\n')
