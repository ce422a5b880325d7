"""ResNet-50 with the stem and shortcuts of ResNet-D and global average pooling, initialised as torchvision's."""
_base_ = './resnet50_gap.py'

model = dict(backbone=dict(deep_stem=True, avg_down=True))
