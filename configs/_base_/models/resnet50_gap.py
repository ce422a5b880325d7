"""ResNet-50 with global average pooling, initialised as torchvision's."""
_base_ = 'mmpretrain::_base_/models/resnet50.py'

model = dict(backbone=dict(zero_init_residual=False))
