import pytest
from mmengine.config import Config

from mmgcp.apis.checks_classes import check_class_folders, check_lists
from mmgcp.utils.errors import SetupError

CLASSES = ['ant', 'bee', 'cat', 'dog']


@pytest.fixture
def cfg(tmp_path):
    for split in ('train', 'val'):
        for name in CLASSES:
            (tmp_path / split / name).mkdir(parents=True)
            (tmp_path / split / name / '0.png').touch()
    loaders = {f'{split}_dataloader': dict(dataset=dict(
        type='CustomDataset', data_root=str(tmp_path), data_prefix='train' if split == 'train' else 'val'))
        for split in ('train', 'val', 'test')}
    return Config(dict(model=dict(head=dict(num_classes=4)), data_preprocessor=dict(num_classes=1000), **loaders))


def remove(folder):
    (folder / '0.png').unlink()
    folder.rmdir()


def test_folders_that_fit(cfg):
    check_class_folders(cfg, ['train', 'val'], CLASSES)
    assert cfg.data_preprocessor.num_classes == 4
    # A pretrained network may name its classes in words where the folders have numbers.
    check_class_folders(cfg, ['test'], ['a domestic cat', 'a tame dog'])


def test_number_of_classes_of_a_preprocessor_inside_the_model(cfg):
    cfg.model.data_preprocessor = cfg.pop('data_preprocessor')
    check_class_folders(cfg, ['train', 'val'])
    assert cfg.model.data_preprocessor.num_classes == 4


@pytest.mark.parametrize('split', ['train', 'val'])
def test_hidden_folders_would_be_class_0(cfg, tmp_path, split):
    hidden = tmp_path / split / '.ipynb_checkpoints'
    hidden.mkdir()
    (hidden / '0.png').touch()
    with pytest.raises(SetupError, match=f'/{split} holds the hidden folder .ipynb_checkpoints, .*: remove it'):
        check_class_folders(cfg, ['train', 'val'])


def test_hidden_folders_of_a_set_that_is_not_read_do_not_count(cfg, tmp_path):
    (tmp_path / 'train/.ipynb_checkpoints').mkdir()
    check_class_folders(cfg, ['test'])


@pytest.mark.parametrize('splits', [['train', 'val'], ['test']])
def test_class_missing_from_validation(cfg, tmp_path, splits):
    remove(tmp_path / 'val/ant')
    for name in ('emu', 'fox'):
        (tmp_path / 'val' / name).mkdir()
        (tmp_path / 'val' / name / '0.png').touch()
    with pytest.raises(SetupError, match=r'the 5 class folders in .*/val are not the 4 of .*/train '
                       r'\(model.head.num_classes=4\): 1 missing \(ant\) and 2 unknown \(emu, fox\)'):
        check_class_folders(cfg, splits)


def test_test_set_without_the_training_set(cfg, tmp_path):
    (tmp_path / 'train').rename(tmp_path / 'gone')
    check_class_folders(cfg, ['test'], CLASSES)
    (tmp_path / 'val/bee').rename(tmp_path / 'val/wasp')
    with pytest.raises(SetupError, match=r'not the 4 of the checkpoint.*1 missing \(bee\) and 1 unknown \(wasp\)'):
        check_class_folders(cfg, ['test'], CLASSES)


def test_classes_in_another_order_than_the_folders(cfg):
    """Labels number the sorted folders: each cat would be called a bee, without an error."""
    with pytest.raises(SetupError, match=r'class 1 is cat for the checkpoint and bee in .*/(train|val)'):
        check_class_folders(cfg, ['test'], ['ant', 'cat', 'bee', 'dog'])
    names = ['dog', 'ant', 'bee', 'cat']
    for where in (dict(classes=names), dict(metainfo=dict(classes=tuple(names)))):
        other = cfg.copy()
        other.val_dataloader.dataset.update(where)
        with pytest.raises(SetupError, match='class 0 is dog for the classes of the data set and ant in .*/val'):
            check_class_folders(other, ['train', 'val'])
    cfg.val_dataloader.dataset.classes = CLASSES
    check_class_folders(cfg, ['train', 'val'], CLASSES)


def test_classes_in_a_file(cfg, tmp_path):
    cfg.val_dataloader.dataset.classes = str(tmp_path / 'classes.txt')
    (tmp_path / 'classes.txt').write_text('\n'.join(CLASSES))
    check_class_folders(cfg, ['train', 'val'])
    (tmp_path / 'classes.txt').write_text('\n'.join(reversed(CLASSES)))
    with pytest.raises(SetupError, match='class 0 is dog for the classes of the data set and ant in .*/val'):
        check_class_folders(cfg, ['train', 'val'])


def test_names_that_are_numbers_or_elsewhere(cfg, tmp_path):
    for index, name in enumerate(CLASSES):
        for split in ('train', 'val'):
            (tmp_path / split / name).rename(tmp_path / split / str(index))
    cfg.val_dataloader.dataset.classes = [0, 1, 2, 3]
    check_class_folders(cfg, ['train', 'val'], [0, 1, 2, 3])
    cfg.val_dataloader.dataset.classes = 's3://bucket/classes.txt'
    check_class_folders(cfg, ['train', 'val'])


def test_another_number_of_names_than_of_folders(cfg):
    cfg.val_dataloader.dataset.classes = [*CLASSES, 'dog']
    with pytest.raises(SetupError, match=r'the data set names 5 classes \(ant, bee, cat, ...\), but .*/val holds 4 '
                       r'class folders'):
        check_class_folders(cfg, ['train', 'val'])


def test_images_behind_a_link(cfg, tmp_path):
    (tmp_path / 'train/ant').rename(tmp_path / 'store')
    (tmp_path / 'train/ant').mkdir()
    (tmp_path / 'train/ant/part').symlink_to(tmp_path / 'store', target_is_directory=True)
    check_class_folders(cfg, ['train', 'val'])


@pytest.mark.parametrize('outputs', [3, 40])
def test_number_of_outputs(cfg, outputs):
    cfg.model.head.num_classes = outputs
    with pytest.raises(SetupError, match=rf'num_classes={outputs}, but .*/train holds 4 class folders \(ant, bee, cat, '
                       r'...\): set --cfg-options model.head.num_classes=4'):
        check_class_folders(cfg, ['train', 'val'])


def test_other_data_sets_are_not_compared():
    loader = dict(dataset=dict(type='CIFAR10', data_root=''))
    check_class_folders(Config(dict(model=dict(head=dict(num_classes=3)), train_dataloader=loader)), ['train'])
    check_class_folders(Config(dict(model=dict(type='Other'), train_dataloader=loader)), ['train'])


def check_list(folder, text, **settings):
    (folder / 'list.txt').write_text(text)
    dataset = dict(dict(type='CustomDataset', data_root=str(folder), ann_file='list.txt', data_prefix=''), **settings)
    check_lists(Config(dict(model=dict(head=dict(num_classes=3)), train_dataloader=dict(dataset=dataset))), ['train'])


def test_image_lists(tmp_path):
    check_list(tmp_path, 'a.jpg 0\nb c.jpg 2\n')
    check_list(tmp_path, 'a.jpg\n', with_label=False)
    with pytest.raises(SetupError, match='no.txt does not exist'):
        check_list(tmp_path, '', ann_file='no.txt')
    with pytest.raises(SetupError, match='list.txt is empty'):
        check_list(tmp_path, '')


@pytest.mark.parametrize('line', ['b.jpg', 'b.jpg,1', 'b.jpg dog', 'b.jpg -1', ''])
def test_lines_that_are_none(tmp_path, line):
    with pytest.raises(SetupError, match=rf"line 2 of .*list.txt is '{line}': it must be the path of an image"):
        check_list(tmp_path, f'a.jpg 0\n{line}\n')


def test_a_byte_order_mark_would_be_part_of_a_name(tmp_path):
    with pytest.raises(SetupError, match='list.txt starts with a byte order mark'):
        check_list(tmp_path, '\ufeffa.jpg 0\n')


def test_labels_beyond_the_head(tmp_path):
    with pytest.raises(SetupError, match='line 1 of .* has class 3, but model.head.num_classes=3 has classes 0 to 2'):
        check_list(tmp_path, 'a.jpg 3\n')
