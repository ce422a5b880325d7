_base_ = './resnet50_gcp_imagenet_lr-norm.py'

model = dict(backbone=dict(conv5_downsample='max_pool'))
