_base_ = './mask_rcnn_r101_gcp_m.py'

model = dict(backbone=dict(init_cfg=dict(checkpoint='workdir://resnet101_gcp_imagenet_lr-norm')))
