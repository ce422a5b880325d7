"""LR_adju of MobileNetV2 as the authors' release runs it: 6e-2 to 1e-2, 1e-3 and 1e-5, without jumps."""
_base_ = './mobilenetv2_lr_adju.py'

param_scheduler = dict(stages=[(6e-2, 1e-2, 0), (1e-2, 1e-3, 50), (1e-3, 1e-5, 100)])
