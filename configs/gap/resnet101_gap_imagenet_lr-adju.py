_base_ = [
    '../_base_/models/resnet101_gap.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/resnet_lr_adju.py',
    '../_base_/imagenet_runtime.py',
]
