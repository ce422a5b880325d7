_base_ = './faster_rcnn_r101_gcp_d.py'

model = dict(backbone=dict(init_cfg=dict(checkpoint='workdir://resnet101_gcp_d_imagenet_lr-norm')))
