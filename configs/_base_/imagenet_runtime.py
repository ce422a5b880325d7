"""Runtime of classification runs."""
_base_ = 'mmpretrain::_base_/default_runtime.py'

default_hooks = dict(checkpoint=dict(max_keep_ckpts=3, save_best='auto'))
custom_hooks = [
    dict(type='mmgcp.SanityCheckHook'),
    dict(type='mmgcp.EpochSeedHook'),
    # Without it, each process validates with the BN statistics of its share of the data, and only rank 0's are saved.
    dict(type='SyncBuffersHook'),
]
randomness = dict(seed=0)
