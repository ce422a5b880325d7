# So-ViT: class token and cross-covariance of 6 heads of the other tokens, two linear layers, sum of their scores.
_base_ = './deit-small_cls_modern.py'

model = dict(
    backbone=dict(out_type='raw'),
    neck=dict(
        _delete_=True, type='mmgcp.FirstAndSecondOrderPooling', in_channels=384, reduced_channels=168, heads=6,
        norm_cfg=None, act_cfg=None),
    head=dict(
        _delete_=True, type='mmgcp.FusionClsHead', num_classes=1000, in_channels=1176, first_channels=384,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original')))
