"""ResNet-101 with global average pooling, initialised as torchvision's."""
_base_ = 'mmpretrain::_base_/models/resnet101.py'

model = dict(backbone=dict(zero_init_residual=False))
