"""Fig. 2: ResNet-18 with global average pooling under LR_norm, its first 20 epochs (about 100,000 steps)."""
_base_ = '../gap/resnet18_gap_imagenet.py'

train_cfg = dict(max_epochs=20)
custom_hooks = [*_base_.custom_hooks, dict(type='mmgcp.LandscapeHook', step_range=(0.1, 75))]
