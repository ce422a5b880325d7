"""LR_adju of ResNets (Table 3): Eq. 9 with rho = 2, e_f = 50; 50 epochs, the last with lr 0.

``param_scheduler.first_epoch=0`` gives the rates of the authors' release, which counts epochs from 0: everything comes
one epoch later, and the first rate is above 0.1.
"""
_base_ = './resnet_lr_norm.py'

param_scheduler = dict(_delete_=True, type='mmgcp.PolynomialLR', power=2, final_epoch=50)
train_cfg = dict(max_epochs=50)
