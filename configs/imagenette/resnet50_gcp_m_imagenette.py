_base_ = [
    '../_base_/models/resnet50_gcp.py',
    '../_base_/datasets/imagenette.py',
    '../_base_/schedules/imagenette_resnet_lr_adju.py',
    '../_base_/imagenet_runtime.py',
]

model = dict(backbone=dict(conv5_downsample='max_pool'), head=dict(num_classes=10))
