_base_ = './resnet18_gcp_imagenet.py'

model = dict(backbone=dict(conv5_downsample='stride'))
