"""LR_fast of MobileNetV2 on Imagenette, the paper's in 1/50 of its epochs: 0.06 x 0.92^(50 e), 2 epochs; batch 64."""
_base_ = './imagenette_mobilenetv2_lr_norm.py'

optim_wrapper = dict(optimizer=dict(lr=0.06))
param_scheduler = dict(gamma=0.92**50)
train_cfg = dict(max_epochs=2)
