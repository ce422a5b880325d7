_base_ = './faster_rcnn_r50_gap.py'

model = dict(
    backbone=dict(depth=18, init_cfg=dict(checkpoint='workdir://resnet18_gap_imagenet')),
    neck=dict(in_channels=[64, 128, 256, 512]))
