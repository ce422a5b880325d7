"""Probes on cached features, of drawn photos and networks with random weights."""
import errno
import json
import math
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from PIL import Image
from torch.nn import functional

from mmgcp.apis.probing import training
from mmgcp.apis.probing.backbone import FrozenBackbone, frozen_backbone
from mmgcp.apis.probing.cache import Features, cached_features
from mmgcp.apis.probing.run import compare_probes
from mmgcp.apis.probing.saving import save_probe
from mmgcp.apis.probing.training import PROBES, Probe, accuracy, compare, draw_rows, train_probe
from mmgcp.utils.errors import SetupError

RESNET = dict(type='mmgcp.GCPResNet', depth=18, stem_channels=8, base_channels=8, conv5_downsample='none')
VIT = dict(type='VisionTransformer', img_size=32, patch_size=8,
           arch=dict(embed_dims=24, num_layers=1, num_heads=2, feedforward_channels=24))


@pytest.fixture
def photos(tmp_path):
    """Settings of a data set of ten photos in two classes."""
    for index in range(10):
        path = tmp_path / 'photos/train' / 'ab'[index % 2] / f'{index}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(index).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    return dict(type='CustomDataset', data_root=str(tmp_path / 'photos'), data_prefix='train',
                pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')])


@pytest.fixture
def network(tmp_path):
    """Function that writes a checkpoint of random weights and returns the frozen backbone."""

    def build(settings, seed=0):
        torch.manual_seed(seed)
        cfg = Config(dict(model=dict(type='ImageClassifier', backbone=settings),
                          data_preprocessor=dict(mean=[128.] * 3, std=[60.] * 3)))
        cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'no_such_file'))
        state_dict = MODELS.build(cfg.model).state_dict()
        torch.save(dict(state_dict=state_dict), tmp_path / f'{seed}.pth')
        return frozen_backbone(cfg, str(tmp_path / f'{seed}.pth'))

    return build


def interrupted(monkeypatch, batches):
    """Stops the computation of features after some batches."""
    whole, calls = FrozenBackbone.features, []

    def features(self, batch):
        calls.append(len(batch['inputs']))
        if len(calls) > batches:
            raise KeyboardInterrupt
        return whole(self, batch)

    monkeypatch.setattr(FrozenBackbone, 'features', features)
    return calls


@pytest.mark.parametrize('half', [False, True])
def test_interrupted_cache_equals_a_whole_one(network, photos, tmp_path, monkeypatch, half):
    backbone = network(RESNET)
    whole = cached_features(backbone, photos, tmp_path / 'whole', half, batch_size=3, workers=0)
    assert (whole.values.shape, whole.values.dtype) == ((10, 64, 2, 2), np.float16 if half else np.float32)
    assert whole.labels.tolist() == [0] * 5 + [1] * 5
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        interrupted(patched, 2)
        cached_features(backbone, photos, tmp_path / 'cut', half, batch_size=3, workers=0)
    with (tmp_path / 'cut.jsonl').open('a') as record:  # killed while it wrote
        record.write('{"rows"')
    calls = interrupted(monkeypatch, 99)
    with pytest.warns(UserWarning, match='cut off'):
        again = cached_features(backbone, photos, tmp_path / 'cut', half, batch_size=3, workers=0)
    assert calls == [3, 1]
    np.testing.assert_array_equal(again.values, whole.values)
    cached_features(backbone, photos, tmp_path / 'cut', half)
    assert calls == [3, 1]


def test_cache_holds_what_the_network_computes(network, photos, tmp_path):
    backbone = network(VIT)
    values = cached_features(backbone, photos, tmp_path / 'x', batch_size=4, workers=0).values
    assert values.shape == (10, 17, 24) and backbone.extra_tokens == 1
    image = torch.from_numpy(np.asarray(Image.open(f"{photos['data_root']}/train/b/3.png"))).permute(2, 0, 1)
    bgr = (image.flip(0)[None] - 128.) / 60
    expected = backbone.model.backbone(bgr)[0][0]
    torch.testing.assert_close(torch.from_numpy(values[6]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('change', ['weights', 'backbone', 'preprocessing', 'images', 'half', 'libraries'])
def test_cache_of_other_features_is_refused(network, photos, tmp_path, monkeypatch, change):
    backbone = network(RESNET)
    cached_features(backbone, photos, tmp_path / 'x', batch_size=5, workers=0)
    before = (tmp_path / 'x.npy').read_bytes()
    if change == 'weights':
        backbone = network(RESNET, seed=1)
    if change == 'backbone':
        backbone = backbone._replace(settings=dict(backbone.settings, conv5_downsample='stride'))
    if change == 'preprocessing':
        photos['pipeline'].insert(1, dict(type='CenterCrop', crop_size=24))
    if change == 'images':
        (tmp_path / 'photos/train/a/0.png').rename(tmp_path / 'photos/train/a/00.png')
    if change == 'libraries':
        monkeypatch.setattr('mmgcp.apis.probing.cache.library_versions', lambda: {'torch': '2.0'})
    with pytest.raises(SetupError, match=rf'the cache is of other features: .*x\.jsonl.*\({change}\): move it away'):
        cached_features(backbone, photos, tmp_path / 'x', half=change == 'half')
    assert (tmp_path / 'x.npy').read_bytes() == before


@pytest.mark.parametrize('damage', ['missing', 'cut off', 'other'])
def test_damaged_cache_is_computed_anew(network, photos, tmp_path, damage):
    backbone = network(RESNET)
    whole = np.array(cached_features(backbone, photos, tmp_path / 'x', batch_size=5, workers=0).values)
    array = tmp_path / 'x.npy'
    content = {'cut off': array.read_bytes()[:-8], 'other': b'no array'}
    array.unlink()
    if damage in content:
        array.write_bytes(content[damage])
    with pytest.warns(UserWarning, match='x.npy is missing or damaged, though x.jsonl counts 10 rows of it'):
        again = cached_features(backbone, photos, tmp_path / 'x', batch_size=5, workers=0)
    np.testing.assert_array_equal(again.values, whole)


def test_infinite_features_are_refused(network, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(FrozenBackbone, 'features', lambda *_: torch.full((5, 2, 2, 2), 1e6))
    with pytest.raises(SetupError, match='images 0 to 4 are infinite or NaN in half precision: leave out --half'):
        cached_features(network(RESNET), photos, tmp_path / 'x', half=True, batch_size=5, workers=0)


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, 'No space left on device')


def test_features_that_do_not_fit_on_the_disk(network, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(os, 'posix_fallocate', full_disk, raising=False)
    with pytest.raises(SetupError, match=r'x.npy takes 1e-05 GB, which cannot be had: No space left'):
        cached_features(network(RESNET), photos, tmp_path / 'x', batch_size=5, workers=0)


def test_a_full_disk_leaves_no_part_of_the_record_of_probes(network, photos, tmp_path, monkeypatch):
    network(RESNET)
    shutil.copytree(tmp_path / 'photos/train', tmp_path / 'photos/val')
    cfg = Config(dict(model=dict(type='ImageClassifier', backbone=RESNET),
                      data_preprocessor=dict(mean=[0] * 3, std=[1] * 3),
                      test_dataloader=dict(batch_size=5, num_workers=0, dataset=photos)))
    write = Path.write_text

    def write_text(path, text, **settings):
        write(path, text[:5] if 'probes.json' in path.name else text, **settings)
        if 'probes.json' in path.name:
            full_disk()

    monkeypatch.setattr(Path, 'write_text', write_text)
    probes = compare_probes(cfg, str(tmp_path / '0.pth'), photos['data_root'], ['linear'], tmp_path / 'cache',
                            tmp_path / 'out', dict(command='a'), seeds=[0], lrs=[1e-3], epochs=1)
    with pytest.raises(OSError, match='No space left'):
        next(probes)
    assert (tmp_path / 'out/probes.csv').is_file() and not (tmp_path / 'out/probes.json').exists()


@pytest.mark.parametrize(('cfg', 'sentence'), [
    (dict(default_scope='mmdet', model=dict(backbone=RESNET)), "this one is of scope 'mmdet'"),
    (dict(model=dict(type='TimmClassifier')), 'without model.backbone'),
    (dict(model=dict(backbone=RESNET)), 'names no pre-trained weights'),
    # How MMPretrain draws the weights of Swin and ViT.
    (dict(model=dict(backbone=RESNET, init_cfg=[dict(type='TruncNormal', layer='Linear', std=0.02)])),
     'names no pre-trained weights'),
    (dict(model=dict(backbone=dict(RESNET, init_cfg=dict(type='Kaiming', layer='Conv2d')))),
     'names no pre-trained weights'),
])
def test_bad_configs(cfg, sentence):
    with pytest.raises(SetupError, match=sentence):
        frozen_backbone(Config(cfg))


@pytest.mark.parametrize(('settings', 'sentence'), [
    (dict(RESNET, out_indices=(2, 3)), 'the backbone gives 2 stages'),
    (dict(type='ConvNeXt', arch=dict(depths=[1] * 4, channels=[8] * 4)), 'gap_before_final_norm=False'),
])
def test_bad_features(network, settings, sentence):
    with pytest.raises(SetupError, match=sentence):
        network(settings).features(dict(inputs=[torch.zeros(3, 32, 32, dtype=torch.uint8)]))


@pytest.mark.parametrize('settings', [RESNET, VIT], ids=['map', 'tokens'])
@pytest.mark.parametrize('name', PROBES)
def test_saved_classifier_gives_the_scores_of_the_probe(network, tmp_path, settings, name):
    backbone = network(settings)
    images = dict(inputs=[torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8) for _ in range(3)])
    features = backbone.features(images)
    probe = Probe(name, features.shape[1:], backbone.extra_tokens, 5, channels=8).eval()
    config, checkpoint = save_probe(probe, backbone, Config(dict(custom_imports=dict(imports=['json']))),
                                    dict(batch_size=1), list('abcde'), tmp_path)
    saved = Config.fromfile(config)
    assert saved.custom_imports.imports == ['json']
    model = MODELS.build(saved.model).eval()
    loaded = torch.load(checkpoint, weights_only=True)
    assert loaded['meta']['dataset_meta']['classes'] == list('abcde')
    assert model.load_state_dict(loaded['state_dict']) == ([], [])
    scores = model.head(model.extract_feat(model.data_preprocessor(images)['inputs']))
    torch.testing.assert_close(scores, probe(features))


def separable(shape, extra, seed):
    """Features whose class shows in their mean, and, as class tokens, only there."""
    labels = np.arange(24) % 3
    values = np.random.default_rng(seed).normal(size=(24, *shape)).astype(np.float32)
    if extra:
        values[np.arange(24), 0, labels] += 9
    else:
        values[np.arange(24), labels] *= 5
        values[np.arange(24), labels] += 3
    return Features(values, labels)


@pytest.mark.parametrize('name', PROBES)
def test_probes_learn(name):
    train, val = (separable((24, 4, 4), 0, seed) for seed in (0, 1))
    result = compare(name, train, val, 0, seeds=[0, 1], lrs=[1e-7, 1e-2], epochs=15, channels=8)
    assert result.lr == 1e-2 and len(result.accuracies) == 2 and min(result.accuracies) > 90
    assert accuracy(result.probe, val) == result.accuracies[0]
    again = compare(name, train, val, 0, seeds=[0, 1], lrs=[1e-7, 1e-2], epochs=15, channels=8)
    assert (again.held_out, again.accuracies) == (result.held_out, result.accuracies)


def test_the_rate_is_chosen_on_photos_that_were_not_trained_on(monkeypatch):
    data, trained, scored = separable((24, 4, 4), 0, 0), [], []
    monkeypatch.setattr(training, 'train_probe', lambda probe, features, rows, *_: trained.append(set(rows)))
    monkeypatch.setattr(training, 'accuracy', lambda probe, features, rows=None: scored.append(rows) or 50.)
    compare('linear', data, data, 0, seeds=[0, 1], lrs=[1e-3, 1e-2], epochs=1, fraction=0.5)
    labelled = [set(draw_rows(data.labels, np.arange(24), 0.5, seed)) for seed in (0, 1)]
    for rows, held, both in zip(trained[:4], scored[:4], labelled * 2, strict=True):
        assert rows.isdisjoint(held) and rows.union(held) == both
    assert trained[4:] == labelled and scored[4:] == [None, None]


def test_linear_probe_reads_the_class_token_and_the_others_the_words():
    train = separable((9, 24), 1, 0)
    for name, learns in dict(linear=True, moment=True, gcp=False, attentive=False).items():
        torch.manual_seed(0)
        probe = Probe(name, (9, 24), 1, 3, channels=8)
        features = torch.from_numpy(train.values).requires_grad_()
        gradient = torch.autograd.grad(probe(features).pow(2).sum(), features)[0].abs().sum((0, 2))
        assert (gradient[0] > 0) == learns and (gradient[1:].max() > 0) == (name != 'linear')


def test_draw_rows_takes_a_share_of_each_class():
    labels = np.repeat([0, 1, 2], [40, 20, 3])
    rows = draw_rows(labels, np.arange(63), 0.1, 0)
    assert np.bincount(labels[rows]).tolist() == [4, 2, 1]
    assert rows.tolist() != draw_rows(labels, np.arange(63), 0.1, 1).tolist()
    inner = draw_rows(labels, rows, 0.5, 0)
    assert set(inner) < set(rows) and np.bincount(labels[inner]).tolist() == [2, 1, 1]


@pytest.mark.parametrize(('settings', 'sentence'), [
    (dict(fraction=0), 'must be above 0'), (dict(fraction=1.5), 'at most 1'), (dict(epochs=0), 'epochs=0 must be'),
    (dict(fraction=0.01), 'leaves a class with a single photo'),
])
def test_bad_settings(settings, sentence):
    data = separable((24, 4, 4), 0, 0)
    with pytest.raises(SetupError, match=sentence):
        compare('linear', data, data, 0, **{**dict(seeds=[0], lrs=[1e-3], epochs=1), **settings})


def test_heads_that_do_not_divide():
    with pytest.raises(SetupError, match='heads=7 must be at least 1 and divide channels=24'):
        Probe('attentive', (24, 4, 4), 0, 3, heads=7)


def test_training_is_adamw_with_a_rate_that_falls_along_a_cosine():
    data, probe = separable((24, 4, 4), 0, 0), Probe('linear', (24, 4, 4), 0, 3)

    def parameters():
        return torch.cat([probe.head.fc.weight, probe.head.fc.bias[:, None]], 1).detach().double()

    expected, mean, square, order = parameters(), 0, 0, np.random.default_rng(0)
    x = functional.pad(torch.from_numpy(data.values).double().mean((2, 3)), (0, 1), value=1)
    y = functional.one_hot(torch.from_numpy(data.labels))
    batches = [batch for _ in range(3) for batch in np.split(order.permutation(24), 2)]
    for step, batch in enumerate(batches):
        lr = (1 + math.cos(math.pi * step / 6)) / 2
        gradient = ((x[batch] @ expected.T).softmax(1) - y[batch]).T @ x[batch] / 12
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        update = mean / (1 - 0.9**(step + 1)) / ((square / (1 - 0.999**(step + 1))).sqrt() + 1e-8)
        expected = expected * (1 - lr * 1e-4) - lr * update
    # So high a rate makes the weight decay visible.
    train_probe(probe, data, np.arange(24), lr=1, epochs=3, seed=0, batch_size=12)
    torch.testing.assert_close(parameters(), expected, rtol=1e-5, atol=1e-5)


def test_record_of_the_cache_is_json(network, photos, tmp_path):
    cached_features(network(RESNET), photos, tmp_path / 'x', batch_size=5, workers=0)
    first, *rest = map(json.loads, (tmp_path / 'x.jsonl').read_text().splitlines())
    assert set(first['settings']) == {'weights', 'half', 'backbone', 'preprocessing', 'images', 'libraries'}
    assert rest == [dict(rows=5), dict(rows=10)]
