_base_ = './resnet50_gcp_imagenet.py'

model = dict(backbone=dict(conv5_downsample='stride'))
