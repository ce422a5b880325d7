"""DINO with four scales on a GCPResNet-50; MMDetection's schedule of 12 epochs, lr for 8 images, 2 on each GPU."""
_base_ = 'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py'

model = dict(
    backbone=dict(
        type='mmgcp.GCPResNet',
        conv5_downsample='stride',
        init_cfg=dict(checkpoint='workdir://resnet50_gap_imagenet', prefix='backbone.')))
train_dataloader = dict(persistent_workers=False)
optim_wrapper = dict(optimizer=dict(lr=5e-5))
auto_scale_lr = dict(base_batch_size=8)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
custom_hooks = [dict(type='mmgcp.SanityCheckHook'), dict(type='mmgcp.EpochSeedHook')]
randomness = dict(seed=0)
