"""ResNet-18 with global covariance pooling and no down-sampling in conv5 (w/o DS)."""
_base_ = './resnet18_gap.py'

model = dict(
    backbone=dict(type='mmgcp.GCPResNet', conv5_downsample='none'),
    neck=dict(type='mmgcp.GlobalCovariancePooling', in_channels=512),
    head=dict(in_channels=32896))
