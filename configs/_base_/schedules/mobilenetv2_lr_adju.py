"""LR_adju of MobileNetV2 (Table 3): three linear stages of 50 epochs; 150 epochs, batch 192.

By the paper's formula the rate jumps up where a stage begins; ``mobilenetv2_lr_adju_release.py`` is continuous.
"""
_base_ = './mobilenetv2_lr_norm.py'

optim_wrapper = dict(optimizer=dict(lr=6e-2))
param_scheduler = dict(
    _delete_=True, type='mmgcp.StagewiseLinearLR', stages=[(6e-2, 1e-3, 0), (1e-2, 1e-4, 50), (1e-3, 1e-5, 100)])
train_cfg = dict(max_epochs=150)
auto_scale_lr = dict(base_batch_size=192)
