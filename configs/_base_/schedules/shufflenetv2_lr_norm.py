"""LR_norm of ShuffleNetV2 (Table 3): 0.5 (1 - step / total), per iteration; 240 epochs, batch 1,024."""
_base_ = './resnet_lr_norm.py'

optim_wrapper = dict(optimizer=dict(lr=0.5, weight_decay=4e-5))
param_scheduler = dict(
    _delete_=True,
    type='mmgcp.PolynomialLR',
    power=1,
    start_epoch=0,
    first_epoch=0,
    final_epoch=240,
    convert_to_iter_based=True)
train_cfg = dict(max_epochs=240)
auto_scale_lr = dict(base_batch_size=1024)
