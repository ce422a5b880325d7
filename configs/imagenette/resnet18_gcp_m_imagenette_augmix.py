"""ResNet-18 with GCP_M under LR_adju and AugMix, otherwise as ``resnet18_gcp_m_imagenette.py``."""
_base_ = [
    '../_base_/models/resnet18_gcp.py',
    '../_base_/datasets/imagenette_augmix.py',
    '../_base_/schedules/imagenette_resnet_lr_adju.py',
    '../_base_/imagenet_runtime.py',
]

model = dict(backbone=dict(conv5_downsample='max_pool'), head=dict(num_classes=10))
