_base_ = [
    '../_base_/models/mobilenetv2_gcp.py',
    '../_base_/datasets/imagenet_bs24.py',
    '../_base_/schedules/mobilenetv2_lr_norm.py',
    '../_base_/imagenet_runtime.py',
]
