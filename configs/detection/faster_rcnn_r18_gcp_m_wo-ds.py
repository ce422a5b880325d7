_base_ = './faster_rcnn_r18_gcp_m.py'

model = dict(backbone=dict(init_cfg=dict(checkpoint='workdir://resnet18_gcp_imagenet_lr-norm')))
