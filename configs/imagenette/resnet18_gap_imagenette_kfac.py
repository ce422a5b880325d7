"""ResNet-18 with GAP and K-FAC under LR_adju, otherwise as ``resnet18_gap_imagenette_lr-adju.py``.

Factors are measured every 10 steps and inverted every 20: large matrices take a CPU long.
"""
_base_ = './resnet18_gap_imagenette_lr-adju.py'

optim_wrapper = dict(
    type='mmgcp.KFACOptimWrapper', damping=1e-2, kl_clip=1e-2, factor_interval=10, inverse_interval=20)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))  # 0.8 GB each
