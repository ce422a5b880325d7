"""LR_norm of MobileNetV2 on Imagenette, the paper's in 1/50 of its epochs: 0.045 x 0.98^(50 e), 8 epochs; batch 64."""
_base_ = './mobilenetv2_lr_norm.py'

param_scheduler = dict(gamma=0.98**50)
train_cfg = dict(max_epochs=8)
auto_scale_lr = dict(base_batch_size=64)
