"""Mask R-CNN on textured shapes from the GCP_M ResNet-18 of the quick start, with narrow heads: minutes on a CPU."""
_base_ = [
    '../_base_/models/mask_rcnn.py',
    '../_base_/datasets/coco_shapes.py',
    '../_base_/detection_runtime.py',
]

channels = 64
model = dict(
    backbone=dict(
        depth=18, conv5_downsample='max_pool', init_cfg=dict(checkpoint='workdir://resnet18_gcp_m_shapes')),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=channels),
    rpn_head=dict(in_channels=channels, feat_channels=channels),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=channels),
        bbox_head=dict(in_channels=channels, fc_out_channels=256, num_classes=12),
        mask_roi_extractor=dict(out_channels=channels),
        mask_head=dict(num_convs=2, in_channels=channels, conv_out_channels=channels, num_classes=12)),
    train_cfg=dict(rpn_proposal=dict(nms_pre=400, max_per_img=200), rcnn=dict(sampler=dict(num=64))),
    test_cfg=dict(rpn=dict(nms_pre=200, max_per_img=100)))

optim_wrapper = dict(optimizer=dict(lr=0.02), clip_grad=dict(max_norm=10))
param_scheduler = [dict(type='mmgcp.PolynomialLR', power=1, final_epoch=6, convert_to_iter_based=True)]
train_cfg = dict(max_epochs=5, val_interval=5)
default_hooks = dict(logger=dict(interval=10), visualization=dict(score_thr=0.2))
