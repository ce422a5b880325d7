"""LR_fast of MobileNetV2 (Table 3): 0.06 x 0.92^e, e from 0; 100 epochs, batch 96."""
_base_ = './mobilenetv2_lr_norm.py'

optim_wrapper = dict(optimizer=dict(lr=0.06))
param_scheduler = dict(gamma=0.92)
train_cfg = dict(max_epochs=100)
