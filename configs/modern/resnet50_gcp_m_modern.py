_base_ = './resnet50_gap_modern.py'

model = dict(
    backbone=dict(type='mmgcp.GCPResNet', conv5_downsample='max_pool'),
    neck=dict(
        _delete_=True, type='mmgcp.GlobalCovariancePooling', in_channels=2048, reduced_channels=256,
        norm_cfg=dict(type='SyncBN')),
    head=dict(in_channels=32896))
