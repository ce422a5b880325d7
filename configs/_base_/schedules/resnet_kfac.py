"""K-FAC of ResNet-50 (Table 2, after Osawa et al., CVPR 2019): Eq. 9 with rho = 11, e_f = 53; 35 epochs, batch 4,096.

From Osawa et al., for this batch: learning rate 8.18e-3 and momentum 0.997, in proportion to each other, and damping
2.5e-4. Not from them: running averages of the factors; ``kl_clip``, which limits steps that rescale the weights; the
weight decay, which is that of the other ResNets.
"""
_base_ = './resnet_lr_norm.py'

optim_wrapper = dict(
    type='mmgcp.KFACOptimWrapper',
    optimizer=dict(lr=8.18e-3, momentum=0.997),
    damping=2.5e-4,
    kl_clip=1e-3,
    accumulative_counts=16)
param_scheduler = [
    dict(type='mmgcp.PolynomialLR', power=11, final_epoch=53),
    dict(type='mmgcp.PolynomialMomentum', power=11, final_epoch=53),
]
train_cfg = dict(max_epochs=35)
auto_scale_lr = dict(base_batch_size=4096)
