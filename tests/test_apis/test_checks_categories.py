import json

import pytest
from mmengine.config import Config

from mmgcp.apis.checks_categories import check_categories, read_categories
from mmgcp.utils.errors import SetupError

datasets = pytest.importorskip('mmdet.datasets')
COCO = pytest.importorskip('mmdet.datasets.api_wrappers').COCO
NAMES = ['ant', 'bee', 'cat']


def write(folder, names, ids=None, **others):
    ids = ids or [NAMES.index(name) + 1 if name in NAMES else 9 for name in names]
    content = dict(
        images=[dict(id=1, file_name='1.jpg', height=50, width=50)],
        annotations=[dict(id=i, image_id=1, bbox=[1, 1, 20, 20], area=400, category_id=i) for i in (1, 2, 3)],
        categories=[dict(id=i, name=name) for i, name in zip(ids, names, strict=True)])
    (folder / 'ann.json').write_text(json.dumps({**content, **others}))


def check(folder, outputs=3):
    dataset = dict(type='CocoDataset', data_root=str(folder), ann_file='ann.json', data_prefix=dict(img=''),
                   metainfo=dict(classes=NAMES))
    heads = dict(bbox_head=[dict(num_classes=3), dict(num_classes=outputs)], mask_head=dict(num_classes=3))
    check_categories(Config(dict(model=dict(roi_head=heads), train_dataloader=dict(dataset=dataset))), ['train'])
    return dataset


def labels(dataset):
    data = datasets.CocoDataset(**{key: value for key, value in dataset.items() if key != 'type'}, test_mode=True)
    return [instance['bbox_label'] for instance in data[0]['instances']]


def test_another_order_would_give_boxes_the_labels_of_others(tmp_path):
    write(tmp_path, ['dog', *NAMES])  # a category more is left out
    dataset = check(tmp_path)
    assert labels(dataset) == [0, 1, 2]
    write(tmp_path, ['cat', 'dog', 'ant', 'bee'])
    assert labels(dataset) != [0, 1, 2]
    with pytest.raises(SetupError, match=r'come in another order than train_dataloader.dataset.metainfo.classes, .*: '
                       r"set it to \('cat', 'ant', 'bee'\)"):
        check(tmp_path)


def test_names_that_differ(tmp_path):
    write(tmp_path, ['ant', 'Bee', 'cat'])
    with pytest.raises(SetupError, match=r'the 3 categories in .*ann.json are not the 3 of '
                       r'train_dataloader.dataset.metainfo.classes: 1 missing \(bee\) and 1 unknown \(Bee\)'):
        check(tmp_path)


def test_ids(tmp_path):
    write(tmp_path, NAMES, ['1', '2', '3'])
    with pytest.raises(SetupError, match=r'the ids of 3 categories in .* are no integers: ant, bee, cat'):
        check(tmp_path)
    write(tmp_path, [*NAMES, 'cat'], [1, 2, 3, 4])
    with pytest.raises(SetupError, match=r'1 categories in .* have several ids: cat'):
        check(tmp_path)


def test_number_of_outputs(tmp_path):
    write(tmp_path, NAMES)
    with pytest.raises(SetupError, match=r'roi_head.bbox_head.num_classes=12, but the data sets have 3 classes'):
        check(tmp_path, outputs=12)


def test_categories_are_found_in_large_and_unusual_files(tmp_path):
    expected = [dict(id=i, name=f'class é {i}') for i in range(9000)]
    text = json.dumps(dict(categories=expected, images=[dict(note='"categories": []', x=dict(categories=[3]))] * 9),
                      ensure_ascii=False, indent=1)
    (tmp_path / 'a.json').write_text(text, encoding='utf-8')
    assert read_categories(tmp_path / 'a.json') == expected
    (tmp_path / 'b.json').write_text('{"images": []}')
    assert read_categories(tmp_path / 'b.json') is None
