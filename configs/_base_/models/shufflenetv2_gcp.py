"""ShuffleNetV2 1.0x with global covariance pooling."""
_base_ = './shufflenetv2_gap.py'

model = dict(
    neck=dict(type='mmgcp.GlobalCovariancePooling', in_channels=1024, act_cfg=dict(type='ReLU6')),
    head=dict(in_channels=32896))
