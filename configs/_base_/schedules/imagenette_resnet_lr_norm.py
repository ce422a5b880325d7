"""LR_norm of ResNets on Imagenette, the paper's in a tenth of its epochs: divided by 10 every 3 of 10; batch 64.

The rate starts at 0.05, the paper's 0.1 for 256 images scaled by the square root of the batch.
"""
_base_ = './resnet_lr_norm.py'

optim_wrapper = dict(optimizer=dict(lr=0.05))
param_scheduler = dict(milestones=[3, 6, 9])
train_cfg = dict(max_epochs=10)
auto_scale_lr = dict(base_batch_size=64)
