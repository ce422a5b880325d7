"""LR_adju of ResNets (Table 3): Eq. 9 with rho = 2, e_f = 50; 50 epochs, the last with lr 0.

The authors' release counts epochs from 0: add ``first_epoch=0`` for its rates, one epoch later throughout.
"""
_base_ = './resnet_lr_norm.py'

param_scheduler = dict(_delete_=True, type='mmgcp.PolynomialLR', power=2, final_epoch=50)
train_cfg = dict(max_epochs=50)
