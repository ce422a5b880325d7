_base_ = './resnet50_gcp_imagenet_lr-adju-release.py'

model = dict(neck=dict(reduced_channels=128), head=dict(in_channels=8256))
