"""ResNet-18 with GCP_M on textured shapes, with the budget of its GAP sibling."""
_base_ = [
    '../_base_/models/resnet18_gcp.py',
    '../_base_/datasets/shapes.py',
    '../_base_/schedules/shapes.py',
    '../_base_/imagenet_runtime.py',
]

model = dict(backbone=dict(conv5_downsample='max_pool'), head=dict(num_classes=12))
default_hooks = dict(logger=dict(interval=25))
