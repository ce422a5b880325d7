_base_ = [
    '../_base_/models/shufflenetv2_gap.py',
    '../_base_/datasets/imagenet_bs256.py',
    '../_base_/schedules/shufflenetv2_lr_norm.py',
    '../_base_/imagenet_runtime.py',
]
