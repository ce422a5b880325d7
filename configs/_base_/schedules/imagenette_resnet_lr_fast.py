"""LR_fast of ResNets on Imagenette, the paper's in a fifth of its epochs: Eq. 9 with rho = 11, stopped after 6 of 10.4.

The rate falls iteration by iteration: with so few epochs, steps by epoch would be coarse.
"""
_base_ = './imagenette_resnet_lr_norm.py'

param_scheduler = dict(
    _delete_=True, type='mmgcp.PolynomialLR', power=11, final_epoch=1 + 52 / 5, convert_to_iter_based=True)
train_cfg = dict(max_epochs=6)
