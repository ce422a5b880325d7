_base_ = 'mmpretrain::swin_transformer/swin-tiny_16xb64_in1k.py'

custom_hooks = [dict(type='mmgcp.SanityCheckHook'), dict(type='mmgcp.EpochSeedHook')]
randomness = dict(seed=0)
