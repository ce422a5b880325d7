"""MobileNetV2 with global covariance pooling on Imagenette: minutes per epoch on a CPU."""
_base_ = [
    '../_base_/models/mobilenetv2_gcp.py',
    '../_base_/datasets/imagenette.py',
    '../_base_/schedules/imagenette.py',
    '../_base_/imagenet_runtime.py',
]

model = dict(head=dict(num_classes=10, dropout_rate=0))  # no randomness, as in Section 3.2
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(max_keep_ckpts=-1))
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='mmgcp.LandscapeHook', step_range=(0.045, 1.5), num_steps=10, interval=40),
]
