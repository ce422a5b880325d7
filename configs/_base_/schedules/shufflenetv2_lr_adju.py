"""LR_adju of ShuffleNetV2 (Table 3): LR_norm's linear decay in 100 epochs."""
_base_ = './shufflenetv2_lr_norm.py'

param_scheduler = dict(final_epoch=100)
train_cfg = dict(max_epochs=100)
