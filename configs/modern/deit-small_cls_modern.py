_base_ = 'mmpretrain::deit/deit-small_4xb256_in1k.py'

custom_hooks = [dict(type='mmgcp.SanityCheckHook'), dict(type='mmgcp.EpochSeedHook')]
randomness = dict(seed=0)
