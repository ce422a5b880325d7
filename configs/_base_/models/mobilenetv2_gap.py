"""MobileNetV2 with global average pooling and, as published, dropout 0.2 before the classifier."""
_base_ = 'mmpretrain::_base_/models/mobilenet_v2_1x.py'

model = dict(head=dict(type='mmgcp.DropoutLinearClsHead', dropout_rate=0.2))
