"""ResNet-18 with global covariance pooling on Imagenette: minutes per epoch on a CPU."""
_base_ = [
    '../_base_/models/resnet18_gcp.py',
    '../_base_/datasets/imagenette.py',
    '../_base_/schedules/imagenette.py',
    '../_base_/imagenet_runtime.py',
]

model = dict(head=dict(num_classes=10))
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(max_keep_ckpts=-1))
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='mmgcp.LandscapeHook', step_range=(0.1, 75), num_steps=10, interval=40),
]
