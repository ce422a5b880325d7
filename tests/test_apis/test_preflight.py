import json

import pytest
from mmengine.config import Config

from mmgcp.apis.preflight import check_data
from mmgcp.utils.errors import SetupError

COCO = json.dumps(dict(images=[], annotations=[], categories=[]), indent=1)


@pytest.fixture
def folders(tmp_path):
    for name in ('cat', 'dog'):
        (tmp_path / 'train' / name).mkdir(parents=True)
        (tmp_path / 'train' / name / '0.png').touch()
    return tmp_path


def check_folders(root, prefix='train'):
    dataset = dict(type='CustomDataset', data_root=str(root), data_prefix=prefix)
    # As a user may wrap it
    wrapped = dict(type='RepeatDataset', times=2, dataset=dataset)
    check_data(Config(dict(train_dataloader=dict(dataset=wrapped))), ['train'])


def check_coco(root, file='ann.json'):
    dataset = dict(type='CocoDataset', data_root=str(root), ann_file=file)
    check_data(Config(dict(val_dataloader=dict(dataset=dict(type='ConcatDataset', datasets=[dataset])))), ['val'])


def test_class_folders(folders):
    check_folders(folders)
    check_folders(folders, dict(img_path='train'))
    with pytest.raises(SetupError, match=r'data root .*nowhere does not exist.*train_dataloader.dataset.data_root='):
        check_folders(folders / 'nowhere')
    with pytest.raises(SetupError, match='/val does not exist: it must hold one folder of images per class'):
        check_folders(folders, 'val')
    with pytest.raises(SetupError, match='cat holds no class folders'):
        check_folders(folders, 'train/cat')
    (folders / 'train' / 'emu').mkdir()
    with pytest.raises(SetupError, match='1 of 3 class folders in .* are empty, emu for one'):
        check_folders(folders)


def test_images_of_other_kinds(folders):
    (folders / 'train/cat/0.png').rename(folders / 'train/cat/0.webp')
    (folders / 'train/cat/.hidden.png').touch()
    with pytest.raises(SetupError, match=r'1 of 2 class folders in .* hold no file that ends in .jpg, .*, cat for one'):
        check_folders(folders)
    dataset = dict(type='CustomDataset', data_root=str(folders), data_prefix='train', extensions=['.png', '.webp'])
    check_data(Config(dict(train_dataloader=dict(dataset=dataset))), ['train'])
    (folders / 'train/cat/inner').mkdir()
    check_folders(folders)


def test_coco_files(tmp_path):
    with pytest.raises(SetupError, match=r'annotation file .*ann.json does not exist'):
        check_coco(tmp_path)
    for content in (COCO, COCO + '\n\n', '\n ' + COCO, COCO + ' ' * 999):
        (tmp_path / 'ann.json').write_text(content)
        check_coco(tmp_path)


@pytest.mark.parametrize('content', ['', '[]', '<html>', COCO[:-1], '{"images": [], "annotations": []}'])
def test_what_is_no_coco_file(content, tmp_path):
    (tmp_path / 'ann.json').write_text(content)
    with pytest.raises(SetupError, match='is not a COCO annotation file, or was cut off'):
        check_coco(tmp_path)


def test_images_for_a_test_server_have_no_annotations(tmp_path):
    (tmp_path / 'ann.json').write_text(json.dumps(dict(images=[], categories=[])))
    dataset = dict(type='CocoDataset', data_root=str(tmp_path), ann_file='ann.json')
    cfg = Config({f'{split}_dataloader': dict(dataset=dataset) for split in ('val', 'test')})
    check_data(cfg, ['test'])
    with pytest.raises(SetupError, match='is not a COCO annotation file'):
        check_data(cfg, ['val'])


@pytest.mark.parametrize('dataset', [
    dict(type='CustomDataset', with_label=False),
    dict(type='CustomDataset', data_prefix='s3://bucket/train'),
    dict(type='CustomDataset', data_prefix=dict(img_path='s3://bucket/train')),
    dict(type='CocoDataset', ann_file='s3://bucket/ann.json'),
])
def test_images_without_labels_and_what_lies_elsewhere(dataset, tmp_path):
    (tmp_path / '0.png').touch()
    check_data(Config(dict(train_dataloader=dict(dataset=dict(dataset, data_root=str(tmp_path))))), ['train'])


@pytest.mark.parametrize('encoding', ['utf-16', 'utf-8-sig'])
def test_encoding_is_named(encoding, tmp_path):
    (tmp_path / 'ann.json').write_text(COCO, encoding=encoding)
    with pytest.raises(SetupError, match='is in UTF-16, or in UTF-8 with a byte order mark: save it as plain UTF-8'):
        check_coco(tmp_path)


def test_other_data_sets_check_themselves():
    check_data(
        Config(dict(train_dataloader=dict(dataset=dict(type='CIFAR10', data_root='')), val_dataloader=None)),
        ['train', 'val'])
    check_data(Config(dict(test_dataloader=dict(dataset=dict(type='ImageNet', data_root='s3://bucket')))), ['test'])
    remote = dict(type='CustomDataset', data_root='', data_prefix='s3://bucket/train')
    check_data(Config(dict(train_dataloader=dict(dataset=remote))), ['train'])
