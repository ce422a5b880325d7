import numpy as np
import pytest
from mmengine.dataset import BaseDataset

from mmgcp.datasets.subset import take_subset
from mmgcp.utils.errors import SetupError


class Images(BaseDataset):

    def load_data_list(self):
        return [dict(img_path=path) for path in self.metainfo['paths']]


class Wrapper:

    def __init__(self, dataset):
        self.dataset = dataset


NAMES = [f'{name}/{index}.5' for name in ('emu', 'cat') for index in range(50)]


def images(folder, suffix, names=NAMES):
    return Images(metainfo=dict(paths=[f'{folder}/{name}{suffix}' for name in names]))


def kept(dataset):
    return {'/'.join(info['img_path'].split('/')[-2:]).rpartition('.')[0] for info in
            map(dataset.get_data_info, range(len(dataset)))}


def test_sets_of_the_same_images_keep_the_same_ones():
    chosen = kept(take_subset(images('val', '.JPEG'), 'rand:20', 3))
    assert chosen == set(np.random.default_rng(3).permutation(sorted(NAMES))[:20].tolist())
    other_order = images('c/fog/1', '.png', NAMES[::-1])
    assert kept(take_subset(other_order, 'rand:20', 3)) == chosen
    wrapper = take_subset(Wrapper(images('val', '.jpg')), 'rand:20', 3)
    assert kept(wrapper.dataset) == chosen and len(wrapper.dataset) == 20
    assert kept(take_subset(images('val', '.JPEG'), 'rand:20', 4)) != chosen
    assert kept(take_subset(images('val', '.JPEG'), 'rand:100')) == set(NAMES)


def test_images_that_share_a_name_count_one_by_one():
    names = [f'{name}/part/{index}' for name in ('emu', 'cat') for index in range(10)]
    paths = [f'val/{name}{suffix}' for name in names for suffix in ('.jpg', '.png')]
    chosen = [[info['img_path'] for info in map(dataset.get_data_info, range(len(dataset)))] for dataset in (
        take_subset(Images(metainfo=dict(paths=order)), 'rand:7') for order in (paths, paths[::-1]))]
    assert len(chosen[0]) == 7 and chosen[1] == chosen[0][::-1]


def test_names_that_are_not_utf_8(tmp_path):
    names = ['cat/caf\udce9', 'cat/b']
    (tmp_path / 'list.txt').write_bytes(b'cat/caf\xe9.jpg\n')
    assert kept(take_subset(images('val', '.jpg', names), str(tmp_path / 'list.txt'))) == {names[0]}


def test_listed_images(tmp_path):
    (tmp_path / 'list.txt').write_text('cat/7.5.JPEG\n\nemu/3.5.JPEG\n')
    dataset = take_subset(images('val', '.png'), str(tmp_path / 'list.txt'))
    assert [info['img_path'] for info in map(dataset.get_data_info, range(2))] == ['val/emu/3.5.png', 'val/cat/7.5.png']
    assert len(dataset) == 2


@pytest.mark.parametrize('content, sentence', [
    ('cat/7.5.JPEG\ncat/x.JPEG\n7.5.JPEG\n', r"2 of the 3 images that '.*' lists are not in the data \(/7.5, cat/x\)"),
    ('\n', '0 of the 0 images'),
])
def test_lists_that_do_not_fit(tmp_path, content, sentence):
    (tmp_path / 'list.txt').write_text(content)
    with pytest.raises(SetupError, match=sentence):
        take_subset(images('val', '.png'), str(tmp_path / 'list.txt'))


@pytest.mark.parametrize('number', [0, 101])
def test_sizes_that_do_not_fit(number):
    with pytest.raises(SetupError, match=f'the subset rand:{number} must have 1 to 100 images'):
        take_subset(images('val', '.png'), f'rand:{number}')
