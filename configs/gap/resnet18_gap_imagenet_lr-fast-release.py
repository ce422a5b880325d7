_base_ = [
    '../_base_/models/resnet18_gap.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/resnet_lr_fast_release.py',
    '../_base_/imagenet_runtime.py',
]
