_base_ = 'mmpretrain::convnext/convnext-tiny_32xb128_in1k.py'

custom_hooks = [*_base_.custom_hooks, dict(type='mmgcp.SanityCheckHook'), dict(type='mmgcp.EpochSeedHook')]
randomness = dict(seed=0)
