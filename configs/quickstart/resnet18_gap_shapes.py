"""ResNet-18 with global average pooling on textured shapes: minutes on a CPU."""
_base_ = [
    '../_base_/models/resnet18_gap.py',
    '../_base_/datasets/shapes.py',
    '../_base_/schedules/shapes.py',
    '../_base_/imagenet_runtime.py',
]

model = dict(head=dict(num_classes=12))
default_hooks = dict(logger=dict(interval=25))
