"""ResNet-18 with global average pooling, initialised as torchvision's."""
_base_ = 'mmpretrain::_base_/models/resnet18.py'

model = dict(backbone=dict(zero_init_residual=False))
