"""Fig. 2: MobileNetV2 with global covariance pooling under LR_norm, its first 37 epochs (about 500,000 steps)."""
_base_ = '../gcp/mobilenetv2_gcp_imagenet_lr-norm.py'

model = dict(head=dict(dropout_rate=0))  # no randomness, as in Section 3.2
train_cfg = dict(max_epochs=37)
custom_hooks = [*_base_.custom_hooks, dict(type='mmgcp.LandscapeHook', step_range=(0.045, 1.5), interval=1000)]
