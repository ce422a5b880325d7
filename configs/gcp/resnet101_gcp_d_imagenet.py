_base_ = './resnet101_gcp_imagenet.py'

model = dict(backbone=dict(conv5_downsample='stride'))
