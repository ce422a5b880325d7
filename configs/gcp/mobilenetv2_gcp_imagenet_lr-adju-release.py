_base_ = [
    '../_base_/models/mobilenetv2_gcp.py',
    '../_base_/datasets/imagenet_bs48.py',
    '../_base_/schedules/mobilenetv2_lr_adju_release.py',
    '../_base_/imagenet_runtime.py',
]
