"""MobileNetV2 with global covariance pooling."""
_base_ = './mobilenetv2_gap.py'

model = dict(
    neck=dict(type='mmgcp.GlobalCovariancePooling', in_channels=1280, act_cfg=dict(type='ReLU6')),
    head=dict(in_channels=32896))
