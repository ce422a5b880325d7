_base_ = [
    '../_base_/models/resnet101_gcp.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/resnet_lr_fast.py',
    '../_base_/imagenet_runtime.py',
]
