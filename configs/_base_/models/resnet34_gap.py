"""ResNet-34 with global average pooling, initialised as torchvision's."""
_base_ = 'mmpretrain::_base_/models/resnet34.py'

model = dict(backbone=dict(zero_init_residual=False))
