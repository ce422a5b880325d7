_base_ = './faster_rcnn_r50_gcp_m.py'

model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='workdir://resnet101_gcp_m_imagenet')))
