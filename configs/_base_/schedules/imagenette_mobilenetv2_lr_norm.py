"""LR_norm of MobileNetV2 on Imagenette, the paper's in 1/25 of its epochs: 0.045 x 0.98^(25 e), 16 epochs; batch 64."""
_base_ = './mobilenetv2_lr_norm.py'

param_scheduler = dict(gamma=0.98**25)
train_cfg = dict(max_epochs=16)
auto_scale_lr = dict(base_batch_size=64)
