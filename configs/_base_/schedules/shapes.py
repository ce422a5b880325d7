"""Schedule of the quick start: linear decay (Eq. 9 with rho = 1), iteration by iteration, batch 32."""
_base_ = './resnet_lr_adju.py'

optim_wrapper = dict(optimizer=dict(lr=0.04))
param_scheduler = dict(power=1, final_epoch=5, by_epoch=True, convert_to_iter_based=True)
train_cfg = dict(max_epochs=4)
auto_scale_lr = dict(base_batch_size=32)
