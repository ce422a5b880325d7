_base_ = 'mmpretrain::efficientnet/efficientnet-b0_8xb32_in1k.py'

custom_hooks = [dict(type='mmgcp.SanityCheckHook'), dict(type='mmgcp.EpochSeedHook')]
randomness = dict(seed=0)
