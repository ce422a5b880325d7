"""LR_fast of ShuffleNetV2 (Table 3): LR_norm's linear decay in 60 epochs."""
_base_ = './shufflenetv2_lr_norm.py'

param_scheduler = dict(final_epoch=60)
train_cfg = dict(max_epochs=60)
