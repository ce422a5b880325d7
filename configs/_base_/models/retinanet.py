"""RetinaNet with FPN on a GCPResNet-50; configs name the weights to start from."""
_base_ = 'mmdet::_base_/models/retinanet_r50_fpn.py'

model = dict(backbone=dict(type='mmgcp.GCPResNet', conv5_downsample='stride', init_cfg=dict(prefix='backbone.')))
