"""MMDetection's common detectors on a covariance-pooled backbone: with the operators at hand they train and predict."""
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

import mmgcp  # noqa: F401  # before MMDetection's models

mmdet = pytest.importorskip('mmdet')
DETECTORS = {
    'Faster R-CNN': 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'Faster R-CNN, soft-NMS': 'faster_rcnn/faster-rcnn_r50_fpn_soft-nms_1x_coco.py',
    'Faster R-CNN, RoIPool': 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'Faster R-CNN, DCN': 'dcn/faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco.py',
    'Faster R-CNN, DCNv2': 'dcnv2/faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco.py',
    'Mask R-CNN': 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'Cascade R-CNN': 'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py',
    'RetinaNet': 'retinanet/retinanet_r50_fpn_1x_coco.py',
    'FCOS': 'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    'ATSS': 'atss/atss_r50_fpn_1x_coco.py',
    'RTMDet': 'rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
    'YOLOX': 'yolox/yolox_tiny_8xb8-300e_coco.py',
    'DETR': 'detr/detr_r50_8xb2-150e_coco.py',
    'Deformable DETR': 'deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
    'DINO': 'dino/dino-4scale_r50_8xb2-12e_coco.py',
}


def built(name, device):
    """A detector with random weights, with few regions, that keeps what it finds however unsure it is."""
    init_default_scope('mmdet')
    cfg = Config.fromfile(Path(mmdet.__file__).parent / '.mim/configs' / DETECTORS[name]).model
    cfg.backbone.init_cfg = None
    if cfg.backbone.type == 'ResNet' and 'dcn' not in cfg.backbone:  # which MMPretrain's networks, and so ours, lack
        cfg.backbone.update(type='mmgcp.GCPResNet', conv5_downsample='max_pool', frozen_stages=-1)
    if 'RoIPool' in name:
        cfg.roi_head.bbox_roi_extractor.roi_layer = dict(type='RoIPool', output_size=7)
    cfg.data_preprocessor.pop('batch_augments', None)  # resizes images to those of the config
    if name == 'RTMDet':
        cfg.bbox_head.exp_on_reg = True  # untrained, it would find boxes of negative size, and drop them
    if 'encoder' in cfg and cfg.num_queries > 100:
        cfg.num_queries = 50
    if 'roi_head' in cfg:
        cfg.train_cfg.rpn_proposal.update(nms_pre=50, max_per_img=50)
        cfg.test_cfg.rpn.update(nms_pre=10, max_per_img=10)
    for limits in (cfg.test_cfg, cfg.test_cfg and cfg.test_cfg.get('rcnn')):
        if limits and 'score_thr' in limits:
            limits.score_thr = 0.
    model = MODELS.build(cfg)
    model.init_weights()
    return model.to(device)


def two_images(model, training):
    from mmdet.testing import demo_mm_inputs
    packed = demo_mm_inputs(batch_size=2, image_shapes=[(3, 64, 96)] * 2, num_items=[3, 2], num_classes=80,
                            with_mask=getattr(model, 'with_mask', False))
    return model.data_preprocessor({key: list(value) for key, value in packed.items()}, training)


def total_loss(model):
    torch.manual_seed(0)  # samplers and denoising queries draw
    losses, _ = model.parse_losses(model(**two_images(model, True), mode='loss'))
    return losses


@pytest.mark.parametrize('name', DETECTORS)
def test_trains_a_step_and_predicts(name, device):
    model = built(name, device).train()
    loss = total_loss(model)
    loss.backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    assert loss.isfinite() and all(g.isfinite().all() for g in gradients.values())
    assert any(n.startswith('backbone.') and g.abs().sum() > 0 for n, g in gradients.items())
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    torch.optim.SGD(model.parameters(), 0.01).step()
    with torch.no_grad():
        results = model.eval()(**two_images(model, False), mode='predict')
    for sample in results:
        found = sample.pred_instances
        assert len(found) > 0 and found.scores.isfinite().all()
        assert found.bboxes.isfinite().all() and (found.bboxes[:, :2] <= found.bboxes[:, 2:]).all()


@pytest.mark.parametrize('name', ['Mask R-CNN', 'Faster R-CNN, DCNv2', 'Deformable DETR'])
def test_bfloat16_is_near_float32(name, device):
    model = built(name, device).train()
    loss = total_loss(model)
    with torch.autocast(device.type, torch.bfloat16):
        low = total_loss(model)
    low.backward()
    torch.testing.assert_close(low.float(), loss, rtol=0.05, atol=0)
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
