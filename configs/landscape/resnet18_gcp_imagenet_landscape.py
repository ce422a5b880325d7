"""Fig. 2: ResNet-18 with global covariance pooling under LR_norm, its first 20 epochs (about 100,000 steps)."""
_base_ = '../gcp/resnet18_gcp_imagenet_lr-norm.py'

train_cfg = dict(max_epochs=20)
custom_hooks = [*_base_.custom_hooks, dict(type='mmgcp.LandscapeHook', step_range=(0.1, 75))]
