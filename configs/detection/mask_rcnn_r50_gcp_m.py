_base_ = './mask_rcnn_r50_gap.py'

model = dict(
    backbone=dict(conv5_downsample='max_pool', init_cfg=dict(checkpoint='workdir://resnet50_gcp_m_imagenet')))
