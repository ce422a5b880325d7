"""LR_fast of ResNets (Table 3): Eq. 9 with rho = 11, e_f = 53, stopped after 30 epochs.

``param_scheduler.first_epoch=0`` gives the rates of the authors' release, see ``resnet_lr_adju.py``.
"""
_base_ = './resnet_lr_norm.py'

param_scheduler = dict(_delete_=True, type='mmgcp.PolynomialLR', power=11, final_epoch=53)
train_cfg = dict(max_epochs=30)
