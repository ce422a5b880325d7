_base_ = './efficientnet-lite0_gap_modern.py'

model = dict(
    neck=dict(_delete_=True, type='mmgcp.GlobalCovariancePooling', in_channels=1280, reduced_channels=256),
    head=dict(in_channels=32896))
