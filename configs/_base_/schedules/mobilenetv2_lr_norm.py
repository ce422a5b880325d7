"""LR_norm of MobileNetV2 (Table 3): 0.045 x 0.98^e, e from 0; 400 epochs, batch 96, weight decay 4e-5."""
_base_ = './resnet_lr_norm.py'

optim_wrapper = dict(optimizer=dict(lr=0.045, weight_decay=4e-5))
param_scheduler = dict(_delete_=True, type='ExponentialLR', gamma=0.98)
train_cfg = dict(max_epochs=400)
auto_scale_lr = dict(base_batch_size=96)
