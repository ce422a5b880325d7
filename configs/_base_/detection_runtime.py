"""Runtime and schedule of detection runs: 12 epochs, lr 0.01 for 8 images (2 on each of 4 GPUs), steps 8 and 11."""
_base_ = ['mmdet::_base_/schedules/schedule_1x.py', 'mmdet::_base_/default_runtime.py']

optim_wrapper = dict(optimizer=dict(lr=0.01))
auto_scale_lr = dict(base_batch_size=8)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
custom_hooks = [dict(type='mmgcp.SanityCheckHook'), dict(type='mmgcp.EpochSeedHook')]
randomness = dict(seed=0)
