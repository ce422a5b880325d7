_base_ = [
    '../_base_/models/resnet18_gap.py',
    '../_base_/datasets/imagenette.py',
    '../_base_/schedules/imagenette_resnet_lr_adju.py',
    '../_base_/imagenet_runtime.py',
]

model = dict(backbone=dict(type='mmgcp.GCPResNet', conv5_downsample='none'), head=dict(num_classes=10))
