"""ResNet-50 with the stem and shortcuts of ResNet-D, GCP and no down-sampling in conv5 (w/o DS)."""
_base_ = './resnet50_gcp.py'

model = dict(backbone=dict(deep_stem=True, avg_down=True))
