"""ResNet-18 with GAP under LR_adju and AugMix, otherwise as ``resnet18_gap_imagenette_lr-adju.py``."""
_base_ = [
    '../_base_/models/resnet18_gap.py',
    '../_base_/datasets/imagenette_augmix.py',
    '../_base_/schedules/imagenette_resnet_lr_adju.py',
    '../_base_/imagenet_runtime.py',
]

model = dict(head=dict(num_classes=10))
