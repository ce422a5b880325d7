_base_ = 'mmpretrain::regnet/regnetx-400mf_8xb128_in1k.py'

custom_hooks = [*_base_.custom_hooks, dict(type='mmgcp.SanityCheckHook'), dict(type='mmgcp.EpochSeedHook')]
randomness = dict(seed=0)
