_base_ = 'mmpretrain::resnet/resnet50_8xb256-rsb-a3-100e_in1k.py'

custom_hooks = [dict(type='mmgcp.SanityCheckHook'), dict(type='mmgcp.EpochSeedHook')]
randomness = dict(seed=0)
