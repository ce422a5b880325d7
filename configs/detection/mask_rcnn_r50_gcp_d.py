_base_ = './mask_rcnn_r50_gap.py'

model = dict(backbone=dict(init_cfg=dict(checkpoint='workdir://resnet50_gcp_d_imagenet')))
