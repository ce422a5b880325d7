import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmcv.transforms import CenterCrop
from mmengine.runner import Runner

from mmgcp.datasets.imagenet_c import ImageNetC, check_sets
from mmgcp.registry import DATASETS
from mmgcp.robustness.catalogue import wnid_folders
from mmgcp.utils.errors import SetupError

SETS = [('fog', 1), ('fog', 3), ('snow', 1), ('snow', 3)]
FILES = ['cat/a.JPEG', 'cat/b.JPEG', 'dog/a.JPEG', 'dog/b.JPEG']


def draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(256, size=(4, 4, 3), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.resize(noise, (24, 20)))


@pytest.fixture
def root(tmp_path) -> Path:
    names = [f'{corruption}/{severity}/{file}' for corruption, severity in SETS for file in FILES]
    for seed, name in enumerate(names):
        draw(tmp_path / name, seed)
    return tmp_path


def build(root, **kwargs):
    settings = dict(corruptions=['fog', 'snow'], severities=[1, 3])
    return DATASETS.build(dict(type='mmgcp.ImageNetC', data_root=str(root), **(settings | kwargs)))


def loader(dataset, workers=0):
    return Runner.build_dataloader(dict(
        dataset=dataset, batch_size=3, num_workers=workers, sampler=dict(type='DefaultSampler', shuffle=False)))


def load(dataset, workers=0) -> tuple[list, list]:
    batches = list(loader(dataset, workers))
    return [[item for batch in batches for item in batch[key]] for key in ('inputs', 'data_samples')]


@pytest.mark.parametrize('workers', [0, 2])
def test_samples_in_order_of_sets(root, workers):
    inputs, samples = load(build(root), workers=workers)
    expected = [(*key, file) for key in SETS for file in FILES]
    assert len(samples) == len(expected) == 16
    for image, sample, (corruption, severity, file) in zip(inputs, samples, expected, strict=True):
        path = root / corruption / str(severity) / file
        assert sample.img_path == str(path)
        assert (sample.corruption, sample.severity) == (corruption, severity)
        assert sample.gt_label.item() == ['cat', 'dog'].index(path.parent.name)
        assert 'unreadable' not in sample
        np.testing.assert_array_equal(image.permute(1, 2, 0), cv2.imread(str(path)))


def test_labels_follow_the_classes_of_the_training(root, tmp_path):
    dataset = build(root, classes=['dog', 'cat'])
    assert dataset.metainfo['classes'] == ('dog', 'cat')
    assert [dataset[i]['data_samples'].gt_label.item() for i in range(4)] == [1, 1, 0, 0]
    assert build(root).metainfo['classes'] == ('cat', 'dog')
    (tmp_path / 'names.txt').write_text('dog\ncat\n')
    assert build(root, classes=str(tmp_path / 'names.txt')).metainfo['classes'] == ('dog', 'cat')


def test_labels_are_not_guessed_from_part_of_imagenets_classes(root):
    for corruption, severity in SETS:
        for old, new in (('cat', 'n01440764'), ('dog', 'n02102040')):
            (root / corruption / str(severity) / old).rename(root / corruption / str(severity) / new)
    with pytest.raises(SetupError, match="holds 2 of ImageNet's 1,000 class folders, and labels cannot be"):
        build(root)
    assert build(root, classes=['n02102040', 'n01440764']).metainfo['classes'] == ('n02102040', 'n01440764')


def wnid_set(root, *folders):
    for number, name in enumerate(folders):
        draw(root / name / 'a.JPEG', number)
    return root


def test_labels_of_imagenet_a_and_r_are_those_of_all_classes(tmp_path):
    everything, wnids = list(wnid_folders()), list(wnid_folders('imagenet_r'))
    dataset = build(wnid_set(tmp_path, *wnids), benchmark='imagenet-r', corruptions=None, severities=None)
    assert [dataset.get_data_info(index)['gt_label'] for index in range(200)] == [everything.index(w) for w in wnids]
    assert dataset.metainfo['labels'] == tuple(everything.index(wnid) for wnid in wnids)
    assert dataset.metainfo['classes'] == tuple(everything)
    sample = dataset[0]['data_samples']
    assert (sample.corruption, sample.severity) == ('clean', 0)
    # A network may have its classes in another order.
    turned = build(tmp_path, benchmark='imagenet-r', corruptions=None, classes=everything[::-1])
    assert turned.get_data_info(0)['gt_label'] == 999 - everything.index(wnids[0])
    with pytest.raises(SetupError, match="imagenet-r is for networks with ImageNet's 1,000 classes, but this one lacks "
                                         r'199 of its classes \(n01484850, n01494475, n01498041, ...\)$'):
        build(tmp_path, benchmark='imagenet-r', corruptions=None, classes=wnids[:1])
    (tmp_path / 'pictures').mkdir()
    shutil.rmtree(tmp_path / wnids[0])
    with pytest.raises(SetupError, match=r'are not those of imagenet-r: 1 missing \(n01443537\) and 1 unknown \(pict'):
        build(tmp_path, benchmark='imagenet-r', corruptions=None)


def test_labels_of_imagenet_v2_are_numbers(tmp_path):
    wnid_set(tmp_path, *(f'imagenetv2-top-images-format-val/{label}' for label in range(1000)))
    pipeline = [dict(type='LoadImageFromFile'), dict(type='CenterCrop', crop_size=16), dict(type='PackInputs')]
    dataset = build(tmp_path, benchmark='imagenet-v2', corruptions=['top-images'], pipeline=pipeline)
    for index in range(1000):
        info = dataset.get_data_info(index)
        assert str(info['gt_label']) == Path(info['img_path']).parent.name
    assert dataset.get_data_info(2)['gt_label'] == 10  # folders as they are sorted: 0, 1, 10
    assert dataset[0]['inputs'].shape == (3, 16, 16)
    with pytest.raises(SetupError, match='lacks matched-frequency, threshold0.7: put'):
        build(tmp_path, benchmark='imagenet-v2', corruptions=None)


def test_hidden_files_and_folders_are_skipped(root):
    for corruption, severity in SETS:
        folder = root / corruption / str(severity)
        (folder / '.ipynb_checkpoints').mkdir()
        (folder / 'cat/._a.JPEG').write_bytes(b'left by macOS')
    dataset = build(root)
    assert len(dataset) == 16 and dataset.metainfo['classes'] == ('cat', 'dog')


def test_transforms_run_on_the_loaded_image(root):
    pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(12, 10)), dict(type='PackInputs')]
    data = build(root, pipeline=pipeline, resize_again=True)[5]
    expected = cv2.resize(cv2.imread(str(root / 'fog/3/cat/b.JPEG')), (12, 10))
    np.testing.assert_array_equal(data['inputs'].permute(1, 2, 0), expected)
    assert data['data_samples'].severity == 3


@pytest.mark.parametrize('step', ['Resize', 'mmpretrain.ResizeEdge', 'torchvision/CenterCrop', CenterCrop,
                                  CenterCrop(20)])
def test_files_are_not_resized_or_cropped_again(root, step):
    pipeline = [dict(type='LoadImageFromFile'), step if isinstance(step, CenterCrop) else dict(type=step)]
    with pytest.raises(SetupError, match='(Resize|ResizeEdge|CenterCrop) would change files that were resized and '
                                         'cropped before .* leave it out of the pipeline, or set resize_again=True'):
        build(root, pipeline=pipeline)


def test_missing_sets_are_all_listed(root):
    with pytest.raises(SetupError, match='lacks fog/2, snow/2, frost/1, frost/2:'):
        build(root, corruptions=['fog', 'snow', 'frost'], severities=[1, 2])
    with pytest.raises(SetupError) as error:
        ImageNetC(str(root))
    assert len(re.findall(r'\w+/\d[,:]', str(error.value))) == 15 * 5 - 4
    with pytest.raises(SetupError, match='nowhere does not exist'):
        build(root / 'nowhere')
    with pytest.raises(SetupError, match='nothing is asked for'):
        build(root, severities=[])


def test_class_folders_must_agree(root):
    assert check_sets(root, ['fog', 'snow'], [1, 3]) == ('cat', 'dog')
    with pytest.raises(SetupError, match=r'fog/1 are not those of the training: 4 missing \(ant, bee, cow, ...\) and '
                                         r'1 unknown \(dog\)$'):
        build(root, classes=['cat', 'emu', 'cow', 'bee', 'ant'])
    shutil.rmtree(root / 'snow/3/dog')
    with pytest.raises(SetupError, match=r'snow/3 are not those of .*fog/1: 1 missing \(dog\)$'):
        build(root)
    shutil.rmtree(root / 'fog/1')
    (root / 'fog/1').mkdir()
    with pytest.raises(SetupError, match='fog/1 holds no class folders'):
        build(root)


def test_images_must_be_complete(root):
    (root / 'snow/1/dog/b.JPEG').unlink()
    with pytest.raises(SetupError, match='snow/1 has 3 images and .*fog/1 has 4'):
        build(root)
    (root / 'snow/1/dog/a.JPEG').unlink()
    with pytest.raises(SetupError, match='1 of 2 class folders in .*snow/1 hold no images, dog for one'):
        build(root)


@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
@pytest.mark.parametrize('damage', ['cut', 'empty', 'text'])
def test_unreadable_images(root, damage, backend):
    path = root / 'fog/1/dog/b.JPEG'
    content = path.read_bytes()
    path.write_bytes(dict(cut=content[:len(content) // 2], empty=b'', text=b'not found')[damage])
    pipeline = [dict(type='LoadImageFromFile', imdecode_backend=backend), dict(type='PackInputs')]
    stopping = build(root, pipeline=pipeline)
    with pytest.raises(SetupError, match=f"image {path} cannot be read: put a whole file there, or set "
                                         "unreadable='skip'"):
        stopping[3]
    inputs, samples = load(build(root, pipeline=pipeline, unreadable='skip'))
    assert [sample.get('unreadable', False) for sample in samples] == [False] * 3 + [True] + [False] * 12
    # All but the pixels are of the image itself; those are of the next one.
    assert samples[3].img_path == str(path) and samples[3].gt_label.item() == 1
    assert (samples[3].corruption, samples[3].severity) == ('fog', 1)
    np.testing.assert_array_equal(inputs[3], inputs[4])


def test_unreadable_images_that_are_ignored(root):
    (root / 'fog/1/cat/a.JPEG').write_bytes(b'')
    pipeline = [dict(type='LoadImageFromFile', ignore_empty=True), dict(type='PackInputs')]
    with pytest.raises(SetupError, match='fog/1/cat/a.JPEG cannot be read'):
        build(root, pipeline=pipeline)[0]


def test_unreadable_image_in_a_worker(root):
    (root / 'fog/1/cat/a.JPEG').write_bytes(b'')
    batches = iter(loader(build(root), workers=1))
    with pytest.raises(SetupError, match='fog/1/cat/a.JPEG cannot be read'):
        next(batches)
    # Workers that still have something to hand over would take 5 seconds to end.
    assert len(list(batches)) == 5


def test_nothing_readable(root):
    for path in root.rglob('*.JPEG'):
        path.write_bytes(b'')
    with pytest.raises(SetupError, match='fog/1/cat/b.JPEG cannot be read, nor can any other of the 16'):
        build(root, unreadable='skip')[1]


def test_unknown_benchmark(root):
    with pytest.raises(SetupError, match="there is no benchmark 'imagenet-b': choose from clean, imagenet-c"):
        build(root, benchmark='imagenet-b')


def test_unknown_policy(root):
    with pytest.raises(SetupError, match="unreadable must be one of .*, but is 'ignore'"):
        build(root, unreadable='ignore')
