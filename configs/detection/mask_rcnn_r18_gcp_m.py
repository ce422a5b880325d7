_base_ = './mask_rcnn_r18_gap.py'

model = dict(
    backbone=dict(conv5_downsample='max_pool', init_cfg=dict(checkpoint='workdir://resnet18_gcp_m_imagenet')))
