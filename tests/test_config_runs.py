"""Every config reads its data, trains a step and evaluates: on drawn images, smaller than those that it is for.

Configs that differ in the schedule alone, or in the checkpoint that they start from, share a run.
"""
import gc
import json
import math
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import MODELS, init_default_scope

from mmgcp.apis.launch import build_runner, load_config
from mmgcp.engine.hooks import SanityCheckHook
from mmgcp.engine.schedulers import lr_curve
from mmgcp.registry import HOOKS
from mmgcp.utils.configs import configs_folder
from tools.dataset_tools.shapes import CLASSES, ShapeSettings, make_coco, make_imagenet

CONFIGS = [path.relative_to(configs_folder()) for path in sorted(configs_folder().rglob('*.py'))
           if not {'_base_', 'robustness'} & set(path.parts)]
CLASSIFIER_SIZE, DETECTOR_SIZE = 64, 128
# Fewer regions per image, in keeping with its size; DINO's queries are the best pixels of its feature maps.
FEW_REGIONS = {
    'RCNN': {'train_cfg.rpn_proposal.nms_pre': 100, 'train_cfg.rcnn.sampler.num': 32, 'test_cfg.rpn.nms_pre': 20,
             'test_cfg.rcnn.score_thr': 0., 'test_cfg.rcnn.max_per_img': 10},
    'RetinaNet': {'test_cfg.score_thr': 0., 'test_cfg.nms_pre': 100},
    'DINO': {'num_queries': 50},
}


@HOOKS.register_module()
class SnapshotHook(Hook):
    """Keeps the tensors that training starts from, and the results of the evaluation."""

    def before_train(self, runner):
        self.before = {name: value.clone() for name, value in runner.model.state_dict().items()}

    def after_val_epoch(self, runner, metrics=None):
        self.metrics = metrics


@pytest.fixture(scope='module')
def workplace(module_path):
    """Folder with drawn data in the layouts of ImageNet and COCO, with COCO's 80 classes."""
    classes = pytest.importorskip('mmdet.datasets').CocoDataset.METAINFO['classes']
    make_imagenet(module_path, ShapeSettings(image_size=CLASSIFIER_SIZE, train=1, val=1), log=str)
    make_coco(module_path, ShapeSettings(image_size=DETECTOR_SIZE, train=3, val=2), log=str)
    for file in (module_path / 'coco/annotations').iterdir():
        content = json.loads(file.read_text())
        content['categories'] = [dict(id=i + 1, name=name) for i, name in enumerate(classes)]
        file.write_text(json.dumps(content))
    return module_path


@pytest.fixture(autouse=True)
def no_remains():
    """Runners and their hooks refer to each other: all networks would wait for the collector, which counts objects."""
    yield
    gc.collect()


@pytest.fixture
def in_workplace(workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    # The Runner prints its config four times.
    monkeypatch.setattr(Config, 'pretty_text', '')


def reduced(settings, size):
    """Pipelines, data sets and loaders with images of ``size`` pixels and two of them in a batch."""
    if isinstance(settings, list):
        return [reduced(value, size) for value in settings]
    if not isinstance(settings, dict):
        return settings
    smaller = {key: reduced(value, size) for key, value in settings.items()}
    for key in {'scale', 'crop_size'} & set(settings):
        smaller[key] = size if isinstance(settings[key], int) else (size, size)
    if 'scales' in settings:
        smaller['scales'] = [(size, size)]
    if 'sampler' in settings:
        smaller.update(batch_size=2, num_workers=0, persistent_workers=False)
    return smaller


def read(path):
    """Config as tools/train.py reads it."""
    return load_config(str(configs_folder() / path), f'runs/{path.stem}')


def shorten(cfg):
    """Make it one epoch of one iteration on the drawn data."""
    size = CLASSIFIER_SIZE if cfg.default_scope == 'mmpretrain' else DETECTOR_SIZE
    for split in ('train', 'val', 'test'):
        loader = reduced(cfg[f'{split}_dataloader'].to_dict(), size)
        loader['dataset'].update(data_root='imagenet' if cfg.default_scope == 'mmpretrain' else 'coco/')
        loader['dataset'].update(indices=2, serialize_data=False)  # serialising collects garbage, which takes long
        loader['dataset'].pop('metainfo', None)
        if loader['dataset']['type'] == 'ImageNet':  # MMPretrain's insists on 1,000 classes
            loader['dataset'].update(type='CustomDataset', data_prefix=loader['dataset'].pop('split'))
        cfg[f'{split}_dataloader'] = loader
    if cfg.default_scope == 'mmdet':
        roi_head = cfg.model.get('roi_head') or {}
        for head in (cfg.model.get('bbox_head'), roi_head.get('bbox_head'), roi_head.get('mask_head')):
            if head:
                head.num_classes = 80
        cfg.val_evaluator.ann_file = cfg.test_evaluator.ann_file = f'coco/{cfg.val_dataloader.dataset.ann_file}'
    else:
        cfg.model.head.num_classes = cfg.data_preprocessor.num_classes = len(CLASSES)
        if 'img_size' in cfg.model.backbone:
            cfg.model.backbone.img_size = CLASSIFIER_SIZE
        if cfg.model.backbone.type == 'SwinTransformer':
            cfg.model.backbone.window_size = 2  # as large as its last map
    few_regions = next((few for kind, few in FEW_REGIONS.items() if kind in cfg.model.type), {})
    cfg.merge_from_dict({f'model.{key}': value for key, value in few_regions.items()})
    for hook in cfg.custom_hooks:
        if hook.type == 'mmgcp.LandscapeHook':
            hook.num_steps = 2
    if cfg.optim_wrapper.get('type') == 'mmgcp.KFACOptimWrapper':
        cfg.optim_wrapper.skip = ['backbone.layer3', 'backbone.layer4']  # whose factors take seconds to invert
    if 'begin' in cfg.param_scheduler:
        cfg.param_scheduler.begin = 0
    elif isinstance(cfg.param_scheduler, list):
        cfg.param_scheduler = [part for part in cfg.param_scheduler if part.get('begin', 0) == 0]
    cfg.train_cfg.max_epochs = 1
    cfg.train_cfg.val_interval = 1
    cfg.default_hooks.checkpoint = None
    cfg.custom_hooks.append(dict(type='mmgcp.SnapshotHook'))


def provide(checkpoint):
    """Put weights where ``workdir://NAME`` looks for them, made by the config of that name."""
    name = checkpoint.removeprefix('workdir://')
    folder = Path('work_dirs', name)
    if checkpoint == name or folder.exists():
        return
    cfg = Config.fromfile(next(configs_folder().rglob(f'{name}.py')))
    # Networks that differ in strides or in training have the same tensors.
    kept = Path(f"{name.partition('_')[0]}_{'gcp' if '_gcp' in name else 'gap'}.pth")
    if not kept.exists():
        init_default_scope(cfg.default_scope)
        model = MODELS.build(cfg.model)
        model.init_weights()
        # With the statistics of a network that has never seen an image, features would grow from block to block.
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.
        model.train()
        model(torch.randn(2, 3, 64, 64))
        # Classifiers are large, and for other classes than the drawn ones.
        weights = {key: value for key, value in model.state_dict().items() if not key.startswith('head.')}
        torch.save(dict(state_dict=weights, meta={}), kept)
    folder.mkdir(parents=True)
    (folder / 'epoch_1.pth').symlink_to(kept.resolve())
    (folder / 'last_checkpoint').write_text('epoch_1.pth')


def what_runs(cfg):
    """A config but for its schedule, the checkpoint that it starts from, and where it leaves its results."""
    settings = cfg.to_dict()
    for name in ('param_scheduler', 'auto_scale_lr', 'load_from', 'work_dir'):
        settings.pop(name, None)
    settings['optim_wrapper']['optimizer'].pop('lr')
    (settings['model']['backbone'].get('init_cfg') or {}).pop('checkpoint', None)
    return json.dumps(settings, sort_keys=True)


@pytest.fixture(scope='module')
def done():
    """What of :func:`what_runs` has run."""
    return set()


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_runs(path, in_workplace, done):
    cfg = read(path)
    if cfg.model.backbone.type == 'TIMMBackbone':
        pytest.importorskip('timm', reason='timm is optional: pip install timm')
    assert all(math.isfinite(lr) for lr in lr_curve(cfg, epoch_length=2))
    shorten(cfg)
    settings = what_runs(cfg)
    if settings in done:
        return
    provide(cfg.get('load_from') or (cfg.model.backbone.get('init_cfg') or {}).get('checkpoint', ''))
    runner = build_runner(cfg, ['train', 'val'], whole_model=False)
    hooks = {type(hook): hook for hook in runner.hooks}
    assert SanityCheckHook in hooks  # stops at a loss that is not finite
    runner.train()
    snapshot = hooks[SnapshotHook]
    before = snapshot.before
    trained = {name for name, value in runner.model.state_dict().items() if not torch.equal(value, before[name])}
    # Heads and the last stage learn; a detector's stem and first stage are frozen.
    assert any(name.startswith(('head.', 'bbox_head.', 'roi_head.')) for name in trained)
    assert any(name.startswith('backbone.') for name in trained)
    assert cfg.default_scope == 'mmpretrain' or not any(
        name.startswith(('backbone.conv1.', 'backbone.layer1.')) for name in trained)
    # A detector that has hardly begun may find nothing, of which COCO has no metric.
    assert runner.iter == 1 and ('accuracy/top1' in snapshot.metrics or cfg.default_scope == 'mmdet')
    done.add(settings)
