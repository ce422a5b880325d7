import pytest
from mmengine.config import Config

from mmgcp.apis.preflight import check_data
from mmgcp.utils.errors import SetupError


@pytest.fixture
def folders(tmp_path):
    for name in ('cat', 'dog'):
        (tmp_path / 'train' / name).mkdir(parents=True)
        (tmp_path / 'train' / name / '0.png').touch()
    return tmp_path


def check_folders(root, prefix='train', **settings):
    dataset = dict(type='CustomDataset', data_root=str(root), data_prefix=prefix, **settings)
    # As a user may wrap it
    wrapped = dict(type='RepeatDataset', times=2, dataset=dataset)
    return check_data(Config(dict(train_dataloader=dict(dataset=wrapped))), ['train'])


def test_class_folders(folders):
    assert check_folders(folders) == check_folders(folders, dict(img_path='train')) == []
    with pytest.raises(SetupError, match=r'data root .*nowhere does not exist.*train_dataloader.dataset.data_root='):
        check_folders(folders / 'nowhere')
    with pytest.raises(SetupError, match='/val does not exist: it must hold one folder of images per class'):
        check_folders(folders, 'val')
    with pytest.raises(SetupError, match='cat holds no class folders'):
        check_folders(folders, 'train/cat')
    (folders / 'train' / 'emu').mkdir()
    with pytest.raises(SetupError, match='1 of 3 class folders in .* hold no file that ends in .*, emu for one'):
        check_folders(folders)


def test_classes_of_the_checkpoint_and_image_lists(folders):
    cfg = Config(dict(test_dataloader=dict(dataset=dict(type='CustomDataset', data_root=f'{folders}/train'))))
    assert check_data(cfg, ['test'], ('cat', 'dog')) == []
    with pytest.raises(SetupError, match=r'not the 2 of the checkpoint: 1 missing \(emu\) and 1 unknown \(dog\)'):
        check_data(cfg, ['test'], ('cat', 'emu'))
    with pytest.raises(SetupError, match='the annotation file .*/no.txt does not exist'):
        check_folders(folders, ann_file='no.txt')


def test_images_of_other_kinds(folders):
    (folders / 'train/cat/.hidden.webp').touch()
    (folders / 'train/cat/1.webp').touch()
    (folders / 'train/dog/inner').mkdir()
    (folders / 'train/dog/inner/2.PNG').touch()
    note, = check_folders(folders)
    assert note.startswith('1 of 4 files in ') and note.endswith('ends in .jpg, .jpeg, .png, .ppm, .bmp, .pgm, .tif: '
                                                                 'cat/1.webp')
    (folders / 'train/cat/0.png').unlink()
    with pytest.raises(SetupError, match=r'1 of 2 class folders in .* hold no file that ends in .jpg, .*, cat for one'):
        check_folders(folders)
    for extensions in (['.png', '.webp'], ['.PNG', '.WebP']):
        assert check_folders(folders, extensions=extensions) == []


@pytest.mark.parametrize('dataset', [
    dict(type='CustomDataset', with_label=False),
    dict(type='CustomDataset', data_prefix='s3://bucket/train'),
    dict(type='CustomDataset', data_prefix=dict(img_path='s3://bucket/train')),
    dict(type='CocoDataset', ann_file='s3://bucket/ann.json'),
])
def test_images_without_labels_and_what_lies_elsewhere(dataset, tmp_path):
    (tmp_path / '0.png').touch()
    check_data(Config(dict(train_dataloader=dict(dataset=dict(dataset, data_root=str(tmp_path))))), ['train'])


@pytest.mark.parametrize('dataset', [
    dict(type='CustomDataset', data_prefix='train'), dict(type='CustomDataset', ann_file='train.txt'),
    dict(type='CocoDataset', ann_file='ann.json')])
def test_a_remote_root_is_not_searched(dataset):
    """MMDetection's configs show the second form, for object storage."""
    storage = dict(backend='petrel', path_mapping={'data/': 's3://bucket/'})
    for remote in (dict(data_root='s3://bucket'), dict(data_root='data/coco/', backend_args=storage)):
        check_data(Config(dict(train_dataloader=dict(dataset=dict(dataset, **remote)))), ['train'])
    with pytest.raises(SetupError, match='the data root data/coco/ does not exist'):
        local = dict(dataset, data_root='data/coco/', backend_args=dict(backend='local'))
        check_data(Config(dict(train_dataloader=dict(dataset=local))), ['train'])


def test_other_data_sets_check_themselves():
    check_data(
        Config(dict(train_dataloader=dict(dataset=dict(type='CIFAR10', data_root='')), val_dataloader=None)),
        ['train', 'val'])
    check_data(Config(dict(test_dataloader=dict(dataset=dict(type='ImageNet', data_root='s3://bucket')))), ['test'])
    remote = dict(type='CustomDataset', data_root='', data_prefix='s3://bucket/train')
    check_data(Config(dict(train_dataloader=dict(dataset=remote))), ['train'])
