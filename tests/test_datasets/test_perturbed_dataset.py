from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.runner import Runner

from mmgcp.datasets.corruptions import image_seed
from mmgcp.datasets.imagenet_p import ImageNetP
from mmgcp.datasets.perturbations import perturb_image
from mmgcp.datasets.perturbed_dataset import PerturbedDataset
from mmgcp.registry import DATASETS
from mmgcp.utils.errors import SetupError

T = 4
NAMES = ['cat/a', 'cat/b', 'dog/a']
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='CenterCrop', crop_size=40), dict(type='PackInputs')]


@pytest.fixture
def clean(tmp_path) -> Path:
    for seed, name in enumerate(NAMES):
        path = tmp_path / 'clean' / f'{name}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).integers(256, size=(6, 6, 3), dtype=np.uint8)
        cv2.imwrite(str(path), cv2.resize(noise, (52, 48)))
    return tmp_path / 'clean'


def build(clean, perturbation='tilt', pipeline=PIPELINE, **kwargs):
    dataset = dict(type='CustomDataset', data_root=str(clean), pipeline=pipeline)
    return DATASETS.build(dict(type='mmgcp.PerturbedDataset', dataset=dataset, perturbation=perturbation, frames=T,
                               **kwargs))


def load(dataset, workers=0) -> tuple[list, list]:
    batches = list(Runner.build_dataloader(dict(
        dataset=dataset, batch_size=2, num_workers=workers, collate_fn=dict(type='mmgcp.collate_sequences'),
        sampler=dict(type='DefaultSampler', shuffle=False))))
    return [[item for batch in batches for item in batch[key]] for key in ('inputs', 'data_samples')]


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize(('perturbation', 'difficulty', 'folder'), [
    ('gaussian_noise', 2, 'gaussian_noise_2'), ('tilt', 3, 'tilt'), ('snow', 1, 'snow')])
def test_equals_frames_on_disk(clean, tmp_path, perturbation, difficulty, folder, workers):
    for name in NAMES:
        image = cv2.cvtColor(cv2.imread(str(clean / f'{name}.png')), cv2.COLOR_BGR2RGB)
        frames = perturb_image(image, perturbation, T, difficulty, image_seed(5, perturbation, name),
                               lambda array: array[4:44, 6:46])
        (tmp_path / folder / name).mkdir(parents=True)
        for number, frame in enumerate(frames):
            cv2.imwrite(str(tmp_path / folder / name / f'{number}.png'), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    inputs, samples = load(build(clean, perturbation, difficulty=difficulty, seed=5), workers)
    stored, stored_samples = load(ImageNetP(str(tmp_path), perturbation, difficulty))
    torch.testing.assert_close(inputs, stored, rtol=0, atol=0)
    keys = ('perturbation', 'difficulty', 'sequence', 'frame', 'frames', 'gt_label', 'img_shape', 'ori_shape')
    for sample, other in zip(samples, stored_samples, strict=True):
        assert [sample.get(key) for key in keys] == [other.get(key) for key in keys]
    assert [sample.sequence for sample in samples] == [name for name in NAMES for _ in range(T)]


def test_is_a_wrapper(clean):
    dataset = build(clean, lazy_init=True)
    assert len(dataset) == 3 and dataset.metainfo['classes'] == ('cat', 'dog')
    first, again = dataset[1], dataset[1]
    assert all(torch.equal(a['inputs'], b['inputs']) for a, b in zip(first, again, strict=True))
    other = build(clean, 'snow', seed=1)[1]
    assert not torch.equal(other[0]['inputs'], build(clean, 'snow', seed=2)[1][0]['inputs'])


def test_unreadable_image(clean):
    (clean / 'cat/b.png').write_bytes(b'')
    with pytest.raises(SetupError, match='cat/b.png cannot be read: put a whole file there'):
        build(clean)[1]
    inputs, samples = load(build(clean, unreadable='skip'))
    assert [sample.get('unreadable', False) for sample in samples] == T * [False] + T * [True] + T * [False]
    assert {(sample.sequence, sample.gt_label.item()) for sample in samples[T:2 * T]} == {('cat/b', 0)}
    torch.testing.assert_close(inputs[T:2 * T], inputs[2 * T:])


def test_arguments(clean):
    with pytest.raises(SetupError, match="no perturbation 'fog'"):
        build(clean, 'fog')
    with pytest.raises(SetupError, match='difficulty=0'):
        build(clean, difficulty=0)
    with pytest.raises(SetupError, match='must begin by loading them and end in PackInputs'):
        build(clean, pipeline=PIPELINE[:2])
    with pytest.raises(SetupError, match="unreadable must be one of .*, but is 'ignore'"):
        PerturbedDataset({}, 'tilt', unreadable='ignore')
