_base_ = './resnet50_gcp_imagenet.py'

model = dict(neck=dict(reduced_channels=128), head=dict(in_channels=8256))
