"""Every config is there, says what the paper says, and starts from the weights that it should."""
import functools
import gc
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torchvision
from mmengine.config import Config
from mmengine.registry import HOOKS, MODELS, PARAM_SCHEDULERS, TRANSFORMS, init_default_scope

import mmgcp  # noqa: F401
from mmgcp.engine.schedulers import lr_curve
from mmgcp.models import DropoutLinearClsHead, GCPResNet, GlobalCovariancePooling
from mmgcp.utils.configs import configs_folder
from mmgcp.zoo.families import FAMILIES
from reproduction import leaderboard

from .shortcuts import no_initial_weights

CONFIGS = {path.stem: path for path in sorted(configs_folder().glob('*/**/*.py')) if '_base_' not in path.parts}
IMAGENET = [name for name, path in CONFIGS.items() if path.parent.name in ('gap', 'gcp') and 'kfac' not in name]
IMAGENETTE = [name for name, path in CONFIGS.items()
              if path.parent.name == 'imagenette' and not name.endswith(('kfac', 'augmix', 'split', 'forms'))]
LEADERBOARD = [name for name, path in CONFIGS.items() if path.parent.name == 'leaderboard']
LANDSCAPE = [name for name, path in CONFIGS.items() if path.parent.name == 'landscape']
KFAC = [name for name in CONFIGS if name.endswith('_kfac')]
FINE_TUNING = [name for name, path in CONFIGS.items() if path.parent.name == 'fine_tuning']
DETECTORS = [name for name, path in CONFIGS.items() if path.parent.name == 'detection']
DOWNSAMPLING = {'gap': 'stride', 'gcp': 'none', 'gcp_128': 'none', 'gcp_d': 'stride', 'gcp_m': 'max_pool'}


def linear(start, end, first):
    return lambda e: start - (start - end) / 50 * (e - first)


class Paper(NamedTuple):
    """Networks and settings of the paper and its authors' release.

    Rates are those of Table 3 and of the release's variant of it: number of epochs, and the rate of epoch e, counted
    from 1 for ResNets and from 0 for the others.
    """
    networks: tuple[str, ...]
    batch: int
    weight_decay: float
    activation: str
    rates: Mapping[str, tuple[int, Callable[[int], float]]]
    dropout: float = 0.
    first_epoch: int = 0


PAPER = {
    'ResNet': Paper(('resnet18', 'resnet34', 'resnet50', 'resnet101'), 256, 1e-4, 'ReLU', first_epoch=1, rates={
        'norm': (100, lambda e: 0.1**((e - 1) // 30 + 1)),
        'fast': (30, lambda e: 0.1 * (1 - (e - 1) / 52)**11),
        'adju': (50, lambda e: 0.1 * (1 - (e - 1) / 49)**2),
    }),
    'MobileNetV2': Paper(('mobilenetv2', ), 96, 4e-5, 'ReLU6', dropout=0.2, rates={
        'norm': (400, lambda e: 0.045 * 0.98**e),
        'fast': (100, lambda e: 0.06 * 0.92**e),
        'adju': (150, lambda e: [linear(6e-2, 1e-3, 0), linear(1e-2, 1e-4, 50), linear(1e-3, 1e-5, 100)][e // 50](e)),
        'adju-release': (150, lambda e: [linear(6e-2, 1e-2, 0), linear(1e-2, 1e-3, 50),
                                         linear(1e-3, 1e-5, 100)][e // 50](e)),
    }),
    'ShuffleNetV2': Paper(('shufflenetv2', ), 1024, 4e-5, 'ReLU6', rates={
        'norm': (240, lambda e: 0.5 * (1 - e / 240)),
        'fast': (60, lambda e: 0.5 * (1 - e / 60)),
        'adju': (100, lambda e: 0.5 * (1 - e / 100)),
    }),
}


def paper_of(name):
    """Row of the table above for the network of a config; None for a network that the paper does not have."""
    return next((row for row in PAPER.values() if name.partition('_')[0] in row.networks), None)


RESNETS = PAPER['ResNet'].networks
PAPERS = [name for name in IMAGENET if paper_of(name)]


@functools.cache
def load(name):
    return Config.fromfile(CONFIGS[name])


@pytest.fixture(autouse=True, scope='module')
def no_remains():
    """Frees the networks, which take gigabytes, for the tests that follow."""
    yield
    load.cache_clear()
    _built.cache_clear()
    gc.collect()


def built(cfg, part=None):
    """Model of a config, or a part of it; many configs share one."""
    return _built(cfg.default_scope, json.dumps((cfg.model[part] if part else cfg.model).to_dict()))


@functools.cache
def _built(scope, settings):
    init_default_scope(scope)
    with no_initial_weights():
        return MODELS.build(json.loads(settings))


def variant(name):
    """Pooling variant that a name stands for."""
    return re.search(r'_(gap|gcp_d|gcp_m|gcp_128|gcp)(_|$)', name)[1]


def schedule(name):
    """Schedule that the name of an ImageNet config stands for: LR_norm for GAP and LR_adju for GCP, unless it says."""
    return name.partition('_lr-')[2] or ('norm' if variant(name) == 'gap' else 'adju')


def test_every_network_has_a_family_and_both_poolings():
    networks = {network for family in FAMILIES for network in family.networks}
    for name in IMAGENET:
        arch = name.partition('_')[0]
        assert arch in networks and {f'{arch}_gap_imagenet', f'{arch}_gcp_imagenet'} <= CONFIGS.keys(), name


def test_all_rows_of_the_paper_have_a_config():
    networks = [network for row in PAPER.values() for network in row.networks]
    expected = {f'{arch}_{pooling}_imagenet{suffix}' for arch in networks for pooling, suffixes in {
        'gap': ['', '_lr-fast', '_lr-adju'], 'gcp': ['', '_lr-norm', '_lr-fast']}.items() for suffix in suffixes}
    expected |= {f'{arch}_{v}_imagenet{suffix}' for arch in RESNETS for v in ('gcp_d', 'gcp_m')
                 for suffix in ('', '_lr-norm', '_lr-fast')}
    expected |= {f'{arch}_gcp_128_imagenet{suffix}' for arch in ('resnet50', 'mobilenetv2')
                 for suffix in ('', '_lr-norm')}
    expected |= {f'mobilenetv2_{v}_imagenet_lr-adju-release' for v in ('gap', 'gcp', 'gcp_128')}
    assert set(PAPERS) == expected

    expected = {f'{detector}_rcnn_{arch}_{v}' for detector in ('faster', 'mask') for arch in ('r18', 'r50', 'r101')
                for v in ('gap', 'gcp_d', 'gcp_m', 'gcp_d_wo-ds', 'gcp_m_wo-ds')}
    expected |= {f'faster_rcnn_{arch}_gcp_d_w-ds' for arch in ('r18', 'r50', 'r101')}
    assert set(DETECTORS) == expected | {f'{d}_r50_{v}' for d in ('retinanet', 'dino') for v in ('gap', 'gcp_m')}

    assert set(LANDSCAPE) == {f'{arch}_{v}_imagenet_landscape' for arch in ('resnet18', 'mobilenetv2')
                              for v in ('gap', 'gcp')}
    poolings = {'resnet18': ('gap', 'gcp_m'), 'resnet50': ('gap', 'gcp_m'), 'mobilenetv2': ('gap', 'gcp')}
    suffixes = {'gap': ['', '_lr-fast', '_lr-adju'], 'gcp': ['', '_lr-norm', '_lr-fast']}
    assert set(IMAGENETTE) == {f'{arch}_{v}_imagenette{suffix}' for arch, variants in poolings.items()
                               for v in variants for suffix in suffixes[v[:3]]}
    assert set(LEADERBOARD) == {f'resnet{depth}d_{v}_leaderboard{suffix}' for depth in (18, 50) for v, suffix in (
        ('gap', ''), ('gcp_m', ''), ('gap', '_split'), ('gcp_m', '_split'))}
    assert set(KFAC) == {'resnet50_gap_imagenet_kfac', 'resnet18_gap_imagenette_kfac'}

    assert {name for name, path in CONFIGS.items() if path.parent.name == 'robustness'} == {'alexnet_imagenet'}
    assert {name for name in CONFIGS if name.endswith('_augmix')} == {
        'resnet18_gap_imagenette_lr-adju_augmix', 'resnet18_gcp_m_imagenette_augmix'}
    assert {name for name in CONFIGS if name.endswith('_split') and name not in LEADERBOARD} == {
        'resnet18_gap_imagenette_lr-adju_split', 'resnet18_gcp_m_imagenette_split'}

    # Users know these two by heart.
    assert CONFIGS['resnet50_gcp_m_imagenet'] == configs_folder() / 'gcp' / 'resnet50_gcp_m_imagenet.py'
    detector = configs_folder() / 'faster_rcnn_r50_gcp_m.py'
    assert list(configs_folder().glob('*.py')) == [detector]
    assert Config.fromfile(detector).to_dict() == load('faster_rcnn_r50_gcp_m').to_dict()


@pytest.mark.parametrize('name', IMAGENET + FINE_TUNING + IMAGENETTE + LANDSCAPE + KFAC[-1:])
def test_networks_of_classifiers(name):
    cfg, arch, paper = load(name), name.partition('_')[0], paper_of(name)
    model = built(cfg)
    if variant(name) == 'gap':
        assert type(model.neck).__name__ == 'GlobalAveragePooling'
    else:
        assert isinstance(model.neck, GlobalCovariancePooling)
        assert model.neck.reduction.conv.out_channels == (128 if variant(name) == 'gcp_128' else 256)
        assert model.neck.out_channels == model.head.in_channels
        assert model.neck.pooling.method == 'newton_schulz' and model.neck.pooling.options.get('num_iters', 5) == 5
        if paper:
            assert type(model.neck.reduction.activate).__name__ == paper.activation
    if arch in RESNETS:
        assert model.backbone.depth == int(arch.removeprefix('resnet'))
        if variant(name) != 'gap':  # MMPretrain's own ResNet
            assert model.backbone.conv5_downsample == DOWNSAMPLING[variant(name)]
    dropout = model.head.dropout.p if isinstance(model.head, DropoutLinearClsHead) else 0
    if paper:
        assert dropout == (0 if name in LANDSCAPE else paper.dropout)
    classes = 200 if name in FINE_TUNING else 10 if 'imagenette' in name else 1000
    assert model.head.num_classes == cfg.data_preprocessor.num_classes == classes


@pytest.mark.parametrize('name', ['resnet18_gap_imagenette_lr-adju', 'resnet18_gcp_m_imagenette'])
def test_augmix_changes_training_images_alone(name):
    plain, augmented = load(name).to_dict(), load(f'{name}_augmix').to_dict()
    steps, more = (cfg['train_dataloader']['dataset'].pop('pipeline') for cfg in (plain, augmented))
    assert plain == augmented and [*more[:3], more[-1]] == steps
    to_pillow, augmix, to_numpy = (TRANSFORMS.build(step) for step in more[3:6])
    image = np.random.default_rng(0).integers(0, 256, (32, 40, 3), np.uint8)  # BGR
    red, green, blue = to_pillow(dict(img=image))['img'].getpixel((7, 5))
    assert (blue, green, red) == tuple(image[5, 7])
    np.testing.assert_array_equal(to_numpy(to_pillow(dict(img=image)))['img'], image)
    mixed = to_numpy(augmix(to_pillow(dict(img=image))))['img']
    assert mixed.shape == image.shape and mixed.dtype == np.uint8 and (mixed != image).mean() > 0.1


@pytest.mark.parametrize('name', PAPERS)
def test_learning_rate_of_every_epoch_is_that_of_table_3(name):
    cfg, paper = load(name), paper_of(name)
    epochs, formula = paper.rates[schedule(name)]
    first = paper.first_epoch
    assert cfg.train_cfg.max_epochs == epochs
    assert lr_curve(cfg, epoch_length=10) == pytest.approx(
        [formula(e) for e in range(first, first + epochs)], rel=1e-9, abs=1e-15)


@pytest.mark.parametrize('name', [name for name in PAPERS if name.startswith('resnet') and schedule(name) != 'norm'])
def test_first_epoch_0_gives_resnets_the_rates_of_the_release(name):
    cfg, (epochs, _) = load(name).copy(), paper_of(name).rates[schedule(name)]
    power, final_epoch = {'fast': (11, 53), 'adju': (2, 50)}[schedule(name)]
    cfg.merge_from_dict({'param_scheduler.first_epoch': 0})
    # To the last bit what the release's schedule says: Eq. 9 with epochs counted from 0.
    assert lr_curve(cfg).tolist() == [0.1 * ((final_epoch - e) / (final_epoch - 1))**power for e in range(epochs)]
    assert lr_curve(cfg)[1:].tolist() == lr_curve(load(name))[:-1].tolist()


@pytest.mark.parametrize('name', IMAGENETTE)
def test_learning_rates_on_imagenette_are_those_of_table_3_in_fewer_epochs(name):
    cfg, paper = load(name), paper_of(name)
    epochs, formula = paper.rates[schedule(name)]
    share, start = (10, 0.05 / 0.1) if name.startswith('resnet') else (50, 1)
    assert cfg.train_cfg.max_epochs == epochs // share
    assert lr_curve(cfg, epoch_length=148) == pytest.approx(
        [start * formula(paper.first_epoch + share * e) for e in range(epochs // share)], rel=1e-9)
    assert cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 64


@pytest.mark.parametrize('name', PAPERS)
def test_imagenet_settings_are_the_papers(name):
    cfg, paper = load(name), paper_of(name)
    batch = 192 if name.startswith('mobilenetv2') and schedule(name).startswith('adju') else paper.batch
    assert 4 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == batch
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.momentum, optimizer.weight_decay) == ('SGD', 0.9, paper.weight_decay)
    # lr changes per epoch, but for ShuffleNetV2's.
    assert cfg.param_scheduler.get('convert_to_iter_based', False) == name.startswith('shufflenetv2')
    train, test = cfg.train_dataloader.dataset.pipeline, cfg.val_dataloader.dataset.pipeline
    assert [t.type for t in train[1:3] + test[1:3]] == ['RandomResizedCrop', 'RandomFlip', 'ResizeEdge', 'CenterCrop']
    assert (train[1].scale, test[1].scale, test[2].crop_size) == (224, 256, 224)
    assert cfg.val_evaluator.topk == (1, 5)


@pytest.mark.parametrize('name', LEADERBOARD)
def test_networks_of_the_leaderboard_differ_in_pooling_alone(name):
    cfg = load(name)
    model, pooling = built(cfg), variant(name)
    backbone = model.backbone
    assert backbone.depth == int(name[len('resnet'):name.index('d_')])
    assert [module.kernel_size for module in backbone.stem.modules() if isinstance(module, torch.nn.Conv2d)] == 3 * [
        (3, 3)]
    assert isinstance(backbone.layer2[0].downsample[0], torch.nn.AvgPool2d)
    assert backbone(torch.zeros(1, 3, 128, 128))[0].shape[-2:] == (4, 4)
    if pooling == 'gap':
        assert type(model.neck).__name__ == 'GlobalAveragePooling'
    else:
        assert backbone.conv5_downsample == DOWNSAMPLING[pooling]
        assert isinstance(model.neck, GlobalCovariancePooling) and model.neck.reduction.conv.out_channels == 256
        assert model.neck.out_channels == model.head.in_channels
    loss = model.head.loss_module
    assert (type(loss).__name__, loss.label_smooth_val, model.head.num_classes) == ('LabelSmoothLoss', 0.1, 10)
    assert cfg.load_from is None and 'init_cfg' not in cfg.model.backbone
    reference = load(f"{name.partition('_')[0]}_gap_leaderboard")
    for part in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'custom_hooks'):
        assert cfg[part] == reference[part]


def test_strided_resnet_d_is_mmpretrains():
    settings = load('resnet18d_gap_leaderboard').model.backbone.to_dict()
    init_default_scope('mmpretrain')
    plain, strided = (MODELS.build({**settings, **other}) for other in (
        {}, dict(type='mmgcp.GCPResNet', conv5_downsample='stride')))
    del settings['deep_stem'], settings['avg_down']
    v1d = MODELS.build({**settings, 'type': 'ResNetV1d'})
    images = torch.randn(2, 3, 64, 64)
    for other in (strided, v1d):
        other.load_state_dict(plain.state_dict())
        assert torch.equal(other(images)[0], plain(images)[0])


@pytest.mark.parametrize('epochs', [5, 20])
def test_learning_rate_of_the_leaderboard_is_flat_and_then_a_cosine(epochs):
    cfg = load('resnet18d_gap_leaderboard').copy()
    cfg.merge_from_dict(leaderboard.training('resnet18d', 'gap', epochs).options)
    assert cfg.train_cfg.max_epochs == epochs and cfg.train_dataloader.batch_size == 32
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=cfg.optim_wrapper.optimizer.lr)
    length, rates = math.ceil(9469 / 32), []
    scheduler = PARAM_SCHEDULERS.build(
        cfg.param_scheduler, default_args=dict(optimizer=optimizer, end=epochs, epoch_length=length))
    optimizer.step()
    for _ in range(epochs * length):
        rates.append(optimizer.param_groups[0]['lr'])
        scheduler.step()
    begin, end = int(0.72 * epochs * length), epochs * length
    assert rates[:begin + 1] == (begin + 1) * [8e-3]
    middle = begin + (end - begin) // 4
    for step in (begin + 1, middle, end - 1):
        assert rates[step] == pytest.approx(4e-3 * (1 + math.cos(math.pi * (step - begin) / (end - begin))), rel=1e-6)
    assert rates[-1] < 1e-6


@pytest.mark.parametrize('name', LEADERBOARD)
def test_photos_of_the_leaderboard_are_as_large_in_tests_as_in_training(name):
    cfg = load(name)
    train, val, test = (cfg[f'{split}_dataloader'].dataset for split in ('train', 'val', 'test'))
    steps = {'train': [(step.type, step.get('scale') or step.get('crop_size')) for step in train.pipeline],
             'val': [(step.type, step.get('scale') or step.get('crop_size')) for step in val.pipeline]}
    resize, end = ('ResizeEdge', 128), ('PackInputs', None)
    assert steps['train'] == [('LoadImageFromFile', None), resize, ('RandomCrop', 128), ('RandomFlip', None), end]
    assert steps['val'] == [('LoadImageFromFile', None), resize, ('CenterCrop', 128), end]
    assert train.pipeline[1].edge == val.pipeline[1].edge == 'short' and test == val
    assert train.data_prefix == 'train'
    if name.endswith('_split'):
        assert val.data_prefix == 'train'
        assert sorted([*train.indices, *val.indices]) == list(range(9469)) and val.indices[:3] == [0, 10, 20]
    else:
        assert val.data_prefix == 'val' and 'indices' not in train and 'indices' not in val


@pytest.mark.parametrize('name', FINE_TUNING)
def test_fine_tuning_starts_from_a_classifier_and_hastens_the_new_one(name):
    cfg = load(name)
    source = load(cfg.load_from.removeprefix('workdir://'))
    assert (source.model.backbone, source.model.neck) == (cfg.model.backbone, cfg.model.neck)
    assert cfg.optim_wrapper.paramwise_cfg.custom_keys == {'head.fc': dict(lr_mult=5)}
    assert 4 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 64
    assert [t.get('crop_size') for t in cfg.train_dataloader.dataset.pipeline][2] == 448


@pytest.mark.parametrize('name', DETECTORS + ['mask_rcnn_r18_gcp_m_shapes', 'mask_rcnn_r18_gcp_m_forms'])
def test_detectors_start_from_a_classifier_with_the_same_backbone(name):
    pytest.importorskip('mmdet')
    cfg = load(name)
    backbone = built(cfg, 'backbone')
    assert isinstance(backbone, GCPResNet)
    assert backbone.conv5_downsample == DOWNSAMPLING[variant(name)]
    assert (backbone.frozen_stages, backbone.norm_eval) == (1, True)
    assert backbone.depth == int(re.search(r'_r(\d+)_', name)[1])
    assert cfg.model.backbone.init_cfg.prefix == 'backbone.'

    checkpoint = cfg.model.backbone.init_cfg.checkpoint.removeprefix('workdir://')
    assert load(checkpoint).model.backbone.depth == backbone.depth
    # The same variant's; or, as in the paper, LR_norm's without (Tables 6 to 8) or with (Table 8) down-sampling.
    expected = {'': (variant(name), ''), 'wo-ds': ('gcp', '_lr-norm'), 'w-ds': ('gcp_d', '_lr-norm')}
    pooling, suffix = expected[(re.search('_(wo?-ds)$', name) or ['', ''])[1]]
    data = dict(shapes='shapes', forms='imagenette').get(name.rpartition('_')[2], 'imagenet')
    assert checkpoint == f'resnet{backbone.depth}_{pooling}_{data}{suffix}'


@pytest.mark.parametrize('name', [name for name in DETECTORS if 'rcnn' in name])
def test_coco_settings_are_the_papers(name):
    cfg = load(name)
    assert 4 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 8
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.momentum, optimizer.weight_decay) == ('SGD', 0.01, 0.9, 1e-4)
    assert cfg.train_cfg.max_epochs == 12
    steps = next(s for s in cfg.param_scheduler if s.type == 'MultiStepLR')
    assert (steps.milestones, steps.gamma) == ([8, 11], 0.1)
    resize = next(t for t in cfg.train_dataloader.dataset.pipeline if t.type == 'Resize')
    assert (tuple(resize.scale), resize.keep_ratio) == ((1333, 800), True)
    assert cfg.val_evaluator.metric == (['bbox', 'segm'] if name.startswith('mask') else 'bbox')


@pytest.mark.parametrize('name, base, images, optimizer', [
    ('retinanet_r50', 'retinanet/retinanet_r50_fpn_1x_coco.py', 16, 'SGD'),
    ('dino_r50', 'dino/dino-4scale_r50_8xb2-12e_coco.py', 16, 'AdamW'),
])
def test_other_detectors_are_mmdetections_at_half_the_batch(name, base, images, optimizer, tmp_path):
    pytest.importorskip('mmdet')
    (tmp_path / 'base.py').write_text(f"_base_ = 'mmdet::{base}'")
    base = Config.fromfile(tmp_path / 'base.py')
    for pooling in ('gap', 'gcp_m'):
        cfg = load(f'{name}_{pooling}')
        assert base.auto_scale_lr.base_batch_size == images and base.optim_wrapper.optimizer.type == optimizer
        assert 4 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == images // 2
        assert cfg.optim_wrapper.optimizer.lr == base.optim_wrapper.optimizer.lr / 2
        assert cfg.train_cfg.max_epochs == base.train_cfg.max_epochs == 12


@pytest.mark.parametrize('name', [name for name in LANDSCAPE if name.endswith('imagenet_landscape')])
def test_landscapes_of_fig_2_are_those_of_the_paper(name):
    cfg = load(name)
    arch = name.partition('_')[0]
    step_range, interval, epochs, steps = {'resnet18': ((0.1, 75), 500, 20, 1e5),
                                           'mobilenetv2': ((0.045, 1.5), 1000, 37, 5e5)}[arch]
    hook = HOOKS.build(cfg.custom_hooks[-1])
    assert (hook.step_sizes[0], hook.step_sizes[-1], len(hook.step_sizes)) == (*step_range, 50)
    assert (hook.at, hook.direction, hook.interval) == ('stem', 'ascent', interval)
    # 1,281,167 images in steps of the config's batch: the steps of Section 3.2, to a few per cent.
    assert cfg.train_cfg.max_epochs == epochs
    assert epochs * 1281167 / cfg.auto_scale_lr.base_batch_size == pytest.approx(steps, rel=0.02)
    first, formula = paper_of(name).first_epoch, paper_of(name).rates['norm'][1]
    assert lr_curve(cfg) == pytest.approx([formula(e) for e in range(first, first + epochs)], rel=1e-9)


def test_alexnet_is_torchvisions():
    cfg = load('alexnet_imagenet')
    assert cfg.model.backbone.init_cfg == dict(type='Pretrained', checkpoint='torchvision://alexnet')
    model, expected = built(cfg).eval(), torchvision.models.alexnet(weights=None).eval()
    model.backbone.load_state_dict(expected.state_dict())
    images = torch.randn(2, 3, 224, 224)
    torch.testing.assert_close(model(images), expected(images))
    assert [step['type'] for step in cfg.test_dataloader.dataset.pipeline] == [
        'LoadImageFromFile', 'ResizeEdge', 'CenterCrop', 'PackInputs']
