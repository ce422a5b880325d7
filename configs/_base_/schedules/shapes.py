"""Schedule of the quick start: Eq. 9 with rho = 2, iteration by iteration, batch 64."""
_base_ = './resnet_lr_adju.py'

optim_wrapper = dict(optimizer=dict(lr=0.05))
param_scheduler = dict(final_epoch=9, by_epoch=True, convert_to_iter_based=True)
train_cfg = dict(max_epochs=8)
auto_scale_lr = dict(base_batch_size=64)
