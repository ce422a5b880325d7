_base_ = './resnet101_gcp_imagenet_lr-fast.py'

model = dict(backbone=dict(conv5_downsample='stride'))
