"""LR_adju of MobileNetV2 on Imagenette, the paper's in 1/50 of its epochs: three lines of 1 epoch; batch 64."""
_base_ = './imagenette_mobilenetv2_lr_norm.py'

optim_wrapper = dict(optimizer=dict(lr=6e-2))
param_scheduler = dict(
    _delete_=True, type='mmgcp.StagewiseLinearLR', stages=[(6e-2, 1e-3, 0), (1e-2, 1e-4, 1), (1e-3, 1e-5, 2)],
    stage_length=1, convert_to_iter_based=True)
train_cfg = dict(max_epochs=3)
