_base_ = './mask_rcnn_r50_gcp_d.py'

model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='workdir://resnet101_gcp_d_imagenet')))
