"""The 5-epoch recipe of Imagenette's leaderboard at 128 px without Lookahead: RAdam, a flat rate, then a cosine.

The rate is 8e-3 for 72 % of the steps and falls to zero in the others, iteration by iteration; batch 32. For another
number of epochs set ``param_scheduler.begin`` to 72 % of it.

The leaderboard's entry puts Lookahead around RAdam, and its network is an SE-ResNeXt-50 with the stem of ResNet-D, Mish
and self-attention. Of these only the stem is used here, so that accuracies do not compare with the entry's.
"""
optim_wrapper = dict(
    optimizer=dict(type='mmgcp.RAdamW', lr=8e-3, betas=(0.95, 0.99), eps=1e-6, weight_decay=1e-2))
param_scheduler = dict(type='CosineAnnealingLR', begin=3.6, eta_min=0, convert_to_iter_based=True)
train_cfg = dict(by_epoch=True, max_epochs=5, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=32)
