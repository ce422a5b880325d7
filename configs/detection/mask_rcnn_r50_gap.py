_base_ = [
    '../_base_/models/mask_rcnn.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/detection_runtime.py',
]

model = dict(backbone=dict(init_cfg=dict(checkpoint='workdir://resnet50_gap_imagenet')))
