# A network of timm (pip install timm) with the recipe of EfficientNet-B0.
_base_ = './efficientnet-b0_gap_modern.py'

model = dict(backbone=dict(_delete_=True, type='TIMMBackbone', model_name='efficientnet_lite0'))
