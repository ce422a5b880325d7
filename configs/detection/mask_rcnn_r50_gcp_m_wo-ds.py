_base_ = './mask_rcnn_r50_gcp_m.py'

model = dict(backbone=dict(init_cfg=dict(checkpoint='workdir://resnet50_gcp_imagenet_lr-norm')))
