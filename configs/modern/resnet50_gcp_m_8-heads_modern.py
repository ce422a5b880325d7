# Cross-covariance of 8 heads: 2,048 numbers.
_base_ = './resnet50_gcp_m_modern.py'

model = dict(neck=dict(heads=8), head=dict(in_channels=2048))
