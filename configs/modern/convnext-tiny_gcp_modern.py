_base_ = './convnext-tiny_gap_modern.py'

model = dict(
    backbone=dict(gap_before_final_norm=False),
    neck=dict(type='mmgcp.GlobalCovariancePooling', in_channels=768, reduced_channels=256),
    head=dict(in_channels=32896))
