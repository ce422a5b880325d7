"""Every config builds, says what the paper says, and runs a forward pass."""
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, PARAM_SCHEDULERS, init_default_scope
from mmengine.structures import InstanceData

import mmgcp  # noqa: F401
from mmgcp.models import GCPResNet, GlobalCovariancePooling
from mmgcp.utils.setup_env import configs_folder

CONFIGS = {path.stem: path for path in sorted(configs_folder().rglob('*.py')) if '_base_' not in path.parts}
CLASSIFIERS = [name for name in CONFIGS if 'rcnn' not in name]
DETECTORS = [name for name in CONFIGS if 'rcnn' in name]
DOWNSAMPLING = {'gcp': 'none', 'gcp_d': 'stride', 'gcp_m': 'max_pool'}


def load(name):
    cfg = Config.fromfile(CONFIGS[name])
    init_default_scope(cfg.default_scope)
    return cfg


def variant(name):
    """Pooling variant that a name stands for."""
    return next(v for v in ('gcp_d', 'gcp_m', 'gcp', 'gap') if f'_{v}' in name)


def test_the_two_commands_and_their_siblings_exist():
    expected = {f'resnet{depth}_{v}_imagenet' for depth in (18, 34, 50, 101) for v in ('gap', 'gcp', 'gcp_d', 'gcp_m')}
    expected |= {f'{detector}_rcnn_{arch}_{v}' for detector in ('faster', 'mask') for arch in ('r50', 'r101')
                 for v in ('gap', 'gcp_d', 'gcp_m')}
    assert expected <= set(CONFIGS)
    assert CONFIGS['resnet50_gcp_m_imagenet'] == configs_folder() / 'gcp' / 'resnet50_gcp_m_imagenet.py'
    assert CONFIGS['faster_rcnn_r50_gcp_m'] == configs_folder() / 'faster_rcnn_r50_gcp_m.py'


@pytest.mark.parametrize('name', CLASSIFIERS)
def test_classifiers(name, device):
    cfg = load(name)
    model = MODELS.build(cfg.model).to(device).eval()
    if variant(name) != 'gap':
        assert isinstance(model.neck, GlobalCovariancePooling)
        assert model.neck.out_channels == model.head.in_channels
        assert model.neck.pooling.method == 'newton_schulz'
        assert model.neck.pooling.options.get('num_iters', 5) == 5
        assert model.backbone.conv5_downsample == DOWNSAMPLING[variant(name)]
    with torch.no_grad():
        scores = model(torch.rand(2, 3, 64, 64, device=device), mode='tensor')
    assert scores.shape == (2, cfg.model.head.num_classes) and scores.isfinite().all()


@pytest.mark.parametrize('name', [name for name in CLASSIFIERS if name.endswith('_imagenet')])
def test_imagenet_settings_are_the_papers(name):
    cfg = load(name)
    assert 4 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 256
    assert sgd_settings(cfg) == ('SGD', 0.1, 0.9, 1e-4)
    lr = lr_by_epoch(cfg)
    if variant(name) == 'gap':
        assert lr == pytest.approx([0.1**(e // 30 + 1) for e in range(100)])
    else:
        assert lr == pytest.approx([0.1 * (1 - (e - 1) / 49)**2 for e in range(1, 51)])
    assert [t.type for t in cfg.train_dataloader.dataset.pipeline[1:3]] == ['RandomResizedCrop', 'RandomFlip']
    assert [t.type for t in cfg.val_dataloader.dataset.pipeline[1:3]] == ['ResizeEdge', 'CenterCrop']
    assert cfg.val_evaluator.topk == (1, 5)


@pytest.mark.parametrize('schedule, epochs, expected', [
    ('norm', 100, lambda e: 0.1**((e - 1) // 30 + 1)),
    ('fast', 30, lambda e: 0.1 * (1 - (e - 1) / 52)**11),
    ('adju', 50, lambda e: 0.1 * (1 - (e - 1) / 49)**2),
])
def test_resnet_schedules_of_table_3(schedule, epochs, expected):
    cfg = Config.fromfile(configs_folder() / '_base_' / 'schedules' / f'resnet_lr_{schedule}.py')
    assert lr_by_epoch(cfg) == pytest.approx([expected(e) for e in range(1, epochs + 1)])


def sgd_settings(cfg):
    return tuple(cfg.optim_wrapper.optimizer[name] for name in ('type', 'lr', 'momentum', 'weight_decay'))


def lr_by_epoch(cfg):
    """lr of each epoch of a config with one scheduler."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=cfg.optim_wrapper.optimizer.lr)
    scheduler = PARAM_SCHEDULERS.build(dict(cfg.param_scheduler, optimizer=optimizer))
    rates = []
    for _ in range(cfg.train_cfg.max_epochs):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize('name', DETECTORS)
def test_detectors(name, device):
    pytest.importorskip('mmdet')
    cfg = load(name)
    checkpoint = cfg.model.backbone.pop('init_cfg').checkpoint
    model = MODELS.build(cfg.model).to(device).eval()
    assert isinstance(model.backbone, GCPResNet)
    assert model.backbone.conv5_downsample == dict(DOWNSAMPLING, gap='stride')[variant(name)]
    assert (model.backbone.frozen_stages, model.backbone.norm_eval) == (1, True)
    depth = int(re.search(r'_r(\d+)_', name)[1])
    assert model.backbone.depth == depth
    # The weights are those that the classifier of the same network leaves.
    source = load(checkpoint.removeprefix('workdir://'))
    assert source.model.backbone.depth == depth and variant(checkpoint) == variant(name)
    with torch.no_grad():
        image = torch.randint(256, (3, 64, 96), dtype=torch.uint8)
        data = model.data_preprocessor(dict(inputs=[image], data_samples=[data_sample(64, 96)]))
        result, = model(**data, mode='predict')
    assert isinstance(result.pred_instances, InstanceData)
    assert result.pred_instances.bboxes.shape[1] == 4 and result.pred_instances.scores.isfinite().all()


def data_sample(height, width):
    from mmdet.structures import DetDataSample
    shape = (height, width)
    return DetDataSample(metainfo=dict(img_shape=shape, ori_shape=shape, scale_factor=(1., 1.)))


@pytest.mark.parametrize('name', [n for n in DETECTORS if Path(CONFIGS[n]).parent == configs_folder()])
def test_coco_settings_are_the_papers(name):
    cfg = load(name)
    assert 4 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 8
    assert sgd_settings(cfg) == ('SGD', 0.01, 0.9, 1e-4)
    assert cfg.train_cfg.max_epochs == 12
    steps = next(s for s in cfg.param_scheduler if s.type == 'MultiStepLR')
    assert (steps.milestones, steps.gamma) == ([8, 11], 0.1)
    resize = next(t for t in cfg.train_dataloader.dataset.pipeline if t.type == 'Resize')
    assert (tuple(resize.scale), resize.keep_ratio) == ((1333, 800), True)
    assert cfg.val_evaluator.metric == (['bbox', 'segm'] if name.startswith('mask') else 'bbox')
