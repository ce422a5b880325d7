"""mmgcp in other projects: the template project under MMPretrain's and MMDetection's own tools, inferencers, hub."""
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import mmpretrain
import pytest
import torch
from mmengine import hub
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain import ImageClassificationInferencer, ModelHub

from mmgcp.models import GCPResNet, GlobalCovariancePooling, model_hub
from mmgcp.utils.checkpoint import load_state_dict
from mmgcp.utils.configs import configs_folder
from tools.dataset_tools.shapes import CLASSES, ShapeSettings, make_coco, make_imagenet

TEMPLATE = Path(__file__).parents[1] / 'examples/my_project'
# One epoch of few small images, and no processes beside the one that trains.
SMALL = ('train_cfg.max_epochs=1', 'train_dataloader.batch_size=6', 'train_dataloader.num_workers=0',
         'val_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False',
         'val_dataloader.persistent_workers=False')
SMALL_IMAGES = (*SMALL, 'model.head.num_classes=12', 'train_dataloader.dataset.pipeline.1.scale=64',
                'val_dataloader.dataset.pipeline.1.scale=64', 'val_dataloader.dataset.pipeline.2.crop_size=64')


class Project:
    """A copy of the template with data where its README wants them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(TEMPLATE, folder, dirs_exist_ok=True)
        data = folder / 'drawn'
        make_imagenet(data, ShapeSettings(image_size=64, train=1, val=1), log=str)
        make_coco(data, ShapeSettings(image_size=96, train=2, val=1), log=str)
        (folder / 'data').mkdir()
        (data / 'imagenet').rename(folder / 'data/my_images')
        objects = (data / 'coco').rename(folder / 'data/my_objects')
        for split in ('train', 'val'):
            (objects / f'{split}2017').rename(objects / split)
            (objects / f'annotations/instances_{split}2017.json').rename(objects / f'annotations/{split}.json')

    def train(self, library: str, config: str, *settings: str) -> Path:
        """Checkpoint that the library's own train.py leaves after one epoch."""
        tool = Path(sys.modules[library].__file__).parent / '.mim/tools/train.py'
        done = subprocess.run([sys.executable, tool, f'configs/{config}.py', '--cfg-options', *settings],
                              cwd=self.folder, env=dict(os.environ, OMP_NUM_THREADS='1'), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0, done.stdout[-6000:]
        return self.folder / 'work_dirs' / config / 'epoch_1.pth'


@pytest.fixture(scope='module')
def project(module_path) -> Project:
    return Project(module_path)


@pytest.fixture(scope='module')
def classifier(project) -> Path:
    """Checkpoint of the template's first config, as a ResNet-18."""
    return project.train('mmpretrain', 'images_resnet50_gcp_m', *SMALL_IMAGES, 'model.backbone.depth=18',
                         'model.neck.in_channels=512')


def test_an_inherited_classifier_trains_and_names_classes(project, classifier):
    image = next((project.folder / 'data/my_images/val').glob('*/*.png'))
    inferencer = ImageClassificationInferencer(str(classifier.parent / 'images_resnet50_gcp_m.py'), str(classifier))
    result, = inferencer(str(image))
    assert isinstance(inferencer.model.backbone, GCPResNet)
    assert inferencer.model.backbone.conv5_downsample == 'max_pool'
    assert result['pred_class'] in CLASSES and result['pred_scores'].shape == (12, )


def test_a_config_of_mmpretrain_takes_the_neck_and_the_schedule(project):
    checkpoint = project.train('mmpretrain', 'images_regnet_gcp', *SMALL_IMAGES)
    cfg = Config.fromfile(checkpoint.parent / 'images_regnet_gcp.py')
    assert cfg.param_scheduler.type == 'mmgcp.PolynomialLR'
    model = mmpretrain.get_model(cfg, str(checkpoint))
    assert isinstance(model.neck, GlobalCovariancePooling) and model.neck.out_channels == 8256
    assert torch.equal(model.neck.reduction.conv.weight, load_state_dict(str(checkpoint))['neck.reduction.conv.weight'])


def test_an_inherited_detector_starts_from_the_classifier(project, classifier):
    pytest.importorskip('mmdet')
    classes = f"metainfo.classes=[{','.join(CLASSES)}]"
    checkpoint = project.train(
        'mmdet', 'objects_faster_rcnn_r50_gcp_m', *SMALL, 'train_dataloader.batch_size=2', 'model.backbone.depth=18',
        'model.neck.in_channels=[64,128,256,512]', 'model.roi_head.bbox_head.num_classes=12',
        f'train_dataloader.dataset.{classes}', f'val_dataloader.dataset.{classes}',
        'train_dataloader.dataset.pipeline.2.scale=(96,96)', 'val_dataloader.dataset.pipeline.1.scale=(96,96)')
    source, target = load_state_dict(str(classifier)), load_state_dict(str(checkpoint))
    # Frozen parts are still the pre-trained ones.
    for name in ('backbone.conv1.weight', 'backbone.layer1.0.conv1.weight', 'backbone.layer4.0.bn1.running_mean'):
        assert torch.equal(target[name], source[name])
    assert set(torch.load(checkpoint, weights_only=False)['meta']['dataset_meta']['classes']) == set(CLASSES)


def test_the_template_says_what_is_its_own():
    """Settings that the runs above replace, as they are in the files."""
    configs = {path.stem: Config.fromfile(path) for path in (TEMPLATE / 'configs').glob('*.py')}
    first, second = configs['images_resnet50_gcp_m'], configs['images_regnet_gcp']
    assert (first.model.backbone.depth, first.model.head.num_classes) == (50, 10)
    assert first.val_dataloader == first.test_dataloader and first.val_evaluator == first.test_evaluator
    assert second.model.head.in_channels == 128 * 129 // 2
    assert [c.train_dataloader.dataset.data_root for c in (first, second)] == ['data/my_images'] * 2
    detector = configs['objects_faster_rcnn_r50_gcp_m']
    init_cfg = detector.model.backbone.init_cfg
    assert (init_cfg.checkpoint, init_cfg.prefix) == ('workdir://images_resnet50_gcp_m', 'backbone.')
    assert detector.model.roi_head.bbox_head.num_classes == len(detector.train_dataloader.dataset.metainfo.classes)
    assert detector.val_evaluator.ann_file == 'data/my_objects/annotations/val.json'


@pytest.fixture
def ours_alone(monkeypatch):
    """MMPretrain without the models of its own, which take seconds to read, and without ours, to be read anew."""
    monkeypatch.setattr(ModelHub, '_ModelHub__mmpretrain_registered', True)
    monkeypatch.setattr(ModelHub, '_models_dict', {})


def test_an_inferencer_finds_a_classifier_by_name(ours_alone, tmp_path):
    importlib.reload(model_hub)
    names = mmpretrain.list_models('*gcp*')
    assert {'resnet18_gcp_imagenet', 'resnet50_gcp_m_imagenet'} <= set(names)
    assert mmpretrain.list_models('*gcp*', task='Image Classification') == names
    assert not [name for name in mmpretrain.list_models() if 'rcnn' in name]
    settings = dict(neck=dict(reduced_channels=16), head=dict(in_channels=136, num_classes=3))
    model = mmpretrain.get_model('resnet18_gcp_imagenet', **settings)
    model.head.fc.bias.data = torch.tensor([0., 1e3, 0.])
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'checkpoint.pth')
    inferencer = ImageClassificationInferencer('resnet18_gcp_imagenet', str(tmp_path / 'checkpoint.pth'), **settings)
    result, = inferencer(torch.randint(256, (64, 64, 3), dtype=torch.uint8).numpy())
    assert result['pred_label'] == 1


def test_an_inferencer_takes_the_config_of_a_detector(tmp_path, monkeypatch):
    pytest.importorskip('mmdet')
    from mmdet.apis import DetInferencer
    monkeypatch.setattr(DefaultScope, '_instance_dict', DefaultScope._instance_dict.copy())
    config = configs_folder() / 'quickstart/mask_rcnn_r18_gcp_m_shapes.py'
    model = hub.get_model('mmgcp::quickstart/mask_rcnn_r18_gcp_m_shapes.py')
    torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dict(classes=CLASSES))), tmp_path / 'c.pth')
    cv2.imwrite(str(tmp_path / 'image.png'), torch.randint(256, (96, 96, 3), dtype=torch.uint8).numpy())
    inferencer = DetInferencer(str(config), str(tmp_path / 'c.pth'), device='cpu', show_progress=False)
    result = inferencer(str(tmp_path / 'image.png'), no_save_vis=True)
    assert torch.equal(inferencer.model.backbone.conv1.weight, model.backbone.conv1.weight)
    assert {'labels', 'scores', 'bboxes', 'masks'} <= set(result['predictions'][0])


@pytest.mark.parametrize('name, kind', [
    ('mmgcp::gcp/resnet18_gcp_m_imagenet.py', 'ImageClassifier'),
    ('mmgcp::detection/faster_rcnn_r18_gcp_m.py', 'FasterRCNN'),
    ('mmgcp::gcp/../faster_rcnn_r50_gcp_m.py', 'FasterRCNN'),  # MMEngine's hub asks for a folder
])
def test_the_hub_builds_models(name, kind, recwarn):
    if kind == 'FasterRCNN':
        pytest.importorskip('mmdet')
    assert hub.get_config(name).model.backbone.conv5_downsample == 'max_pool'
    model = hub.get_model(name)
    assert (type(model).__name__, model.backbone.conv5_downsample) == (kind, 'max_pool')
    assert not [warning for warning in recwarn if 'default scope' in str(warning.message)]
