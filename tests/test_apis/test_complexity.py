"""Parameters and FLOPs against the literature and against counts by hand."""
import pytest
from mmengine.analysis import parameter_count
from mmengine.config import Config

import mmgcp  # noqa: F401
from mmgcp.apis.complexity import build_network, complexity, image_size
from mmgcp.utils.configs import configs_folder
from reproduction.zoo.index import load_many


def load(name: str) -> Config:
    cfg, = load_many([configs_folder() / f'{name}.py'])
    return cfg


@pytest.mark.parametrize('name, parameters, flops', [
    ('gap/resnet50_gap_imagenet', 25_557_032, 4.11e9),
    ('gap/mobilenetv2_gap_imagenet', 3_504_872, 0.32e9),
])
def test_published_values(name, parameters, flops):
    cost = complexity(load(name))
    assert cost.parameters == parameters
    assert cost.flops == pytest.approx(flops, rel=0.03)


@pytest.mark.parametrize('channels', [256, 32])
def test_covariance_pooling_is_counted(channels):
    """The ten products of the five steps run on the smaller side: 49 x 49 pixels, or 32 x 32 channels."""
    cfg = load('gcp/shufflenetv2_gcp_imagenet')
    vector = channels * (channels + 1) // 2
    cfg.model.neck.reduced_channels, cfg.model.head.in_channels = channels, vector
    with_gcp, with_gap = complexity(cfg), complexity(load('gap/shufflenetv2_gap_imagenet'))
    last, pixels, classes = 1024, 49, 1000
    side = min(channels, pixels)
    covariance = channels**2 * pixels if side == channels else channels * pixels**2
    # F Z F^T on the side of the pixels; on that of the channels the steps end with the result.
    result = 0 if side == channels else channels * pixels**2 + channels**2 * pixels
    pooling = covariance + 10 * side**3 + result
    reduction = (last * channels + 2 * channels) * pixels  # convolution and batch normalisation
    assert with_gcp.flops - with_gap.flops == (
        reduction + pooling + vector * classes - last * pixels - last * classes)
    assert with_gcp.parameters - with_gap.parameters == last * channels + 2 * channels + (vector - last) * classes


@pytest.mark.parametrize('name, size', [
    ('gcp/resnet18_gcp_imagenet', (224, 224)),
    ('detection/faster_rcnn_r50_gap', (800, 1344)),
    ('detection/dino_r50_gap', (800, 1333)),
])
def test_image_size(name, size):
    pytest.importorskip('mmdet')
    assert image_size(load(name)) == size


@pytest.mark.parametrize('scope', ['', 'mmpretrain.'])
def test_a_resized_edge_does_not_tell_the_size(scope):
    """The other edge is open, so that the size is that of the crop in training; types may name their scope."""
    pipelines = dict(test=[dict(type=f'{scope}ResizeEdge', scale=256)],
                     train=[dict(type=f'{scope}RandomResizedCrop', scale=224)])
    cfg = Config({f'{split}_dataloader': dict(dataset=dict(type='CustomDataset', pipeline=pipeline))
                  for split, pipeline in pipelines.items()})
    assert image_size(cfg) == (224, 224)
    cfg.test_dataloader.dataset.pipeline.append(dict(type=f'{scope}CenterCrop', crop_size=(192, 160)))
    assert image_size(cfg) == (160, 192)


def small_detector(name: str) -> Config:
    cfg = load(name)
    next(transform for transform in cfg.test_dataloader.dataset.pipeline if 'scale' in transform).scale = (192, 128)
    return cfg


def test_mask_head_sees_100_proposals():
    pytest.importorskip('mmdet')
    box_and_mask, box = (complexity(small_detector(f'detection/{name}_rcnn_r18_gap')) for name in ('mask', 'faster'))
    convolutions = 4 * (256 * 256 * 3 * 3) * 14 * 14
    upsampling, classes = (256 * 256 * 2 * 2) * 14 * 14, (256 * 80) * 28 * 28
    assert box_and_mask.flops - box.flops == 100 * (convolutions + upsampling + classes)


def test_box_head_sees_as_many_proposals_as_the_config_lets_through():
    pytest.importorskip('mmdet')
    cfg = small_detector('detection/faster_rcnn_r18_gap')
    flops = complexity(cfg).flops
    assert cfg.model.test_cfg.rpn.max_per_img == 1000
    cfg.model.test_cfg.rpn.max_per_img = 990
    per_proposal = 256 * 7 * 7 * 1024 + 1024 * 1024 + 1024 * (80 + 1) + 1024 * 4 * 80
    assert flops - complexity(cfg).flops == 10 * per_proposal


def test_region_proposals_are_counted():
    pytest.importorskip('mmdet')
    cfg = small_detector('detection/faster_rcnn_r18_gap')
    flops = complexity(cfg).flops
    cfg.model.rpn_head.feat_channels = 128
    pixels = sum((128 // stride) * (192 // stride) for stride in (4, 8, 16, 32, 64))
    assert flops - complexity(cfg).flops == pixels * 128 * (256 * 3 * 3 + 3 + 3 * 4)


def test_parameters_of_a_detector():
    pytest.importorskip('mmdet')
    cfg = load('detection/faster_rcnn_r50_gap')
    model = cfg.model.to_dict()
    # MMDetection's Faster R-CNN with ResNet-50 and FPN has 41.75 M.
    assert parameter_count(build_network(cfg))[''] == pytest.approx(41.75e6, rel=1e-3)
    assert cfg.model.to_dict() == model
