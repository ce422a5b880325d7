_base_ = './mask_rcnn_r18_gap.py'

model = dict(backbone=dict(init_cfg=dict(checkpoint='workdir://resnet18_gcp_d_imagenet')))
