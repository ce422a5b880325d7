"""LR_adju of ResNets on Imagenette, the paper's in a tenth of its epochs: Eq. 9 with rho = 2 over 4.9 of 5.

The rate falls iteration by iteration: with so few epochs, steps by epoch would be coarse.
"""
_base_ = './imagenette_resnet_lr_norm.py'

param_scheduler = dict(
    _delete_=True, type='mmgcp.PolynomialLR', power=2, final_epoch=1 + 49 / 10, convert_to_iter_based=True)
train_cfg = dict(max_epochs=5)
