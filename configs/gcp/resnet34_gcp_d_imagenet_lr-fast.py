_base_ = './resnet34_gcp_imagenet_lr-fast.py'

model = dict(backbone=dict(conv5_downsample='stride'))
