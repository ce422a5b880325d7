_base_ = 'mmpretrain::vision_transformer/vit-base-p16_32xb128-mae_in1k.py'

custom_hooks = [*_base_.custom_hooks, dict(type='mmgcp.SanityCheckHook'), dict(type='mmgcp.EpochSeedHook')]
randomness = dict(seed=0)
