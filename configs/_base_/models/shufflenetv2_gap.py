"""ShuffleNetV2 1.0x with global average pooling."""
_base_ = 'mmpretrain::_base_/models/shufflenet_v2_1x.py'
