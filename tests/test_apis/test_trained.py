import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmpretrain.models import ImageClassifier
from PIL import Image

from mmgcp.apis.trained import saved_checkpoints, trained_model, training_batches, unmeasured
from mmgcp.utils.errors import SetupError


@pytest.fixture
def cfg(tmp_path):
    """A small classifier on 10 images of noise in two classes."""
    generator = np.random.default_rng(0)
    for index in range(10):
        path = tmp_path / f'data/class_{index % 2}/{index}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (24, 24, 3), np.uint8)).save(path)
    return Config(dict(
        model=dict(
            type='ImageClassifier',
            backbone=dict(type='ResNet', depth=18, stem_channels=4, base_channels=4),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=2, in_channels=32)),
        train_dataloader=dict(
            batch_size=3,
            num_workers=2,
            persistent_workers=True,
            collate_fn=dict(type='default_collate'),
            sampler=dict(type='DefaultSampler', shuffle=True),
            dataset=dict(
                type='CustomDataset',
                data_root=str(tmp_path / 'data'),
                pipeline=[dict(type='LoadImageFromFile'), dict(type='RandomResizedCrop', scale=16),
                          dict(type='RandomFlip', prob=0.5), dict(type='PackInputs')]))))


@pytest.mark.parametrize('kind', ['epoch', 'iter'])
def test_checkpoints_in_the_order_of_the_training(kind, tmp_path):
    for name in (f'{kind}_10.pth', f'{kind}_9.pth', f'{kind}_100.pth', 'best_accuracy_top1_epoch_9.pth', 'latest.pth'):
        (tmp_path / name).touch()
    found = [tmp_path / f'{kind}_{number}.pth' for number in (9, 10, 100)]
    assert saved_checkpoints(tmp_path) == saved_checkpoints(str(tmp_path)) == found


def test_folders_without_checkpoints_or_with_two_kinds(tmp_path):
    for folder in (tmp_path, tmp_path / 'nowhere'):
        with pytest.raises(SetupError, match=rf'{folder} holds no checkpoint \(epoch_N.pth or iter_N.pth\): give'):
            saved_checkpoints(folder)
    for name in ('epoch_1.pth', 'iter_500.pth'):
        (tmp_path / name).touch()
    with pytest.raises(SetupError, match='holds checkpoints by epoch and by iteration: move one kind away'):
        saved_checkpoints(tmp_path)


@pytest.mark.parametrize('change, message', [
    ({'model': None}, 'the config has no model'),
    ({'model.backbone.dept': 18}, r"unexpected keyword argument 'dept'"),
    ({'model.backbone.depth': 17}, 'depth'),
    ({'model.backbone.type': 'NoSuchNet'}, 'NoSuchNet is not in the')])
def test_models_that_cannot_be_built(change, message, cfg, tmp_path):
    torch.save({'state_dict': {}}, tmp_path / 'a.pth')
    cfg.merge_from_dict(change)
    with pytest.raises(SetupError, match=message):
        trained_model(cfg, tmp_path / 'a.pth')


def test_the_model_has_the_weights_of_the_checkpoint_and_trains(cfg, tmp_path):
    model = MODELS.build(cfg.model)
    for value in (*model.parameters(), *model.buffers()):
        value.data = torch.rand(value.shape).to(value.dtype)
    torch.save(dict(meta=dict(epoch=3, iter=12), state_dict=model.state_dict()), tmp_path / 'epoch_3.pth')
    loaded, meta = trained_model(cfg, tmp_path / 'epoch_3.pth')
    assert loaded.training and meta == dict(epoch=3, iter=12)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in loaded.state_dict().items())
    torch.save(model.state_dict(), tmp_path / 'bare.pth')
    assert trained_model(cfg, str(tmp_path / 'bare.pth'))[1] == {}


def test_configs_with_python_imports_need_no_scope(cfg, tmp_path):
    torch.save(MODELS.build(cfg.model).state_dict(), tmp_path / 'a.pth')
    cfg.merge_from_dict({'default_scope': None, 'model.type': ImageClassifier})
    assert type(trained_model(cfg, tmp_path / 'a.pth')[0]) is ImageClassifier
    assert len(training_batches(cfg, 1)) == 1


def test_checkpoints_that_do_not_fit(cfg, tmp_path):
    with pytest.raises(SetupError, match='nowhere.pth does not exist'):
        trained_model(cfg, tmp_path / 'nowhere.pth')
    model = MODELS.build(cfg.model)
    torch.save(model.state_dict(), tmp_path / 'narrow.pth')
    cfg.model.head.num_classes = 5
    with pytest.raises(SetupError, match=r'narrow.pth does not fit ImageClassifier: .* \(head.fc.weight is \(2, 32\)'):
        trained_model(cfg, tmp_path / 'narrow.pth')


def same(first, second):
    return all(torch.equal(a['inputs'], b['inputs'])
               and [s.gt_label.item() for s in a['data_samples']] == [s.gt_label.item() for s in b['data_samples']]
               for a, b in zip(first, second, strict=True))


def test_batches_are_the_same_for_the_same_seed(cfg):
    before = cfg.train_dataloader.to_dict()
    batches = training_batches(cfg, 3, seed=1)
    assert [batch['inputs'].shape for batch in batches] == [(3, 3, 16, 16)] * 3
    assert batches[0]['inputs'].dtype == torch.uint8 and len(batches[0]['data_samples']) == 3
    paths = [sample.img_path for batch in batches for sample in batch['data_samples']]
    assert len(set(paths)) == 9  # no image twice
    torch.rand(7)
    np.random.random(3)
    cfg.model.backbone.depth = 34  # another network
    assert same(training_batches(cfg, 3, seed=1), batches) and same(training_batches(cfg, 1, seed=1), batches[:1])
    assert not same(training_batches(cfg, 3, seed=2), batches)
    assert cfg.train_dataloader.to_dict() == before


def test_more_batches_than_data_and_missing_data(cfg):
    assert [len(batch['inputs']) for batch in training_batches(cfg, 4)] == [3, 3, 3, 1]
    with pytest.raises(SetupError, match='the training data have 4 batches of 3 images, but 5 are asked for: ask for'):
        training_batches(cfg, 5)
    cfg.train_dataloader.pop('batch_size')
    with pytest.raises(SetupError, match='the training data have 10 batches of 1 images, but 11 are asked for'):
        training_batches(cfg, 11)
    cfg.train_dataloader.dataset.data_root = 'nowhere'
    with pytest.raises(SetupError, match='the data root nowhere does not exist'):
        training_batches(cfg, 1)


def test_checkpoints_are_measured_once_and_anew_if_they_have_changed(tmp_path):
    first, second = tmp_path / 'epoch_1.pth', tmp_path / 'epoch_2.pth'
    first.write_bytes(b'123456789')
    second.write_bytes(b'')
    # The check value of CRC-32, and that of nothing.
    assert unmeasured([first, second], []) == [(first, 0xCBF43926), (second, 0)]
    records = [dict(checkpoint='epoch_1.pth', crc32=0xCBF43926), dict(checkpoint='epoch_2.pth', crc32=1)]
    assert unmeasured([first, second], records) == [(second, 0)]


def test_images_are_normalised_as_the_runner_does(cfg, tmp_path):
    torch.save(MODELS.build(cfg.model).state_dict(), tmp_path / 'epoch_1.pth')
    cfg.data_preprocessor = dict(mean=[100., 110., 120.], std=[50., 60., 70.], to_rgb=True)
    images = trained_model(cfg, tmp_path / 'epoch_1.pth')[0].data_preprocessor
    assert images.mean.flatten().tolist() == [100., 110., 120.] and images.std.flatten().tolist() == [50., 60., 70.]
    # One that the model has itself comes first.
    cfg.model.data_preprocessor = dict(mean=[1.] * 3, std=[2.] * 3)
    assert trained_model(cfg, tmp_path / 'epoch_1.pth')[0].data_preprocessor.mean.flatten().tolist() == [1.] * 3
