_base_ = './mask_rcnn_r50_gap.py'

model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='workdir://resnet101_gap_imagenet')))
