"""Mask R-CNN on the forms of textured shapes, from the GCP_M ResNet-18 of Imagenette: 1,000 steps for 800 images."""
_base_ = '../quickstart/mask_rcnn_r18_gcp_m_shapes.py'

metainfo = dict(classes=['disc', 'square', 'triangle'])
val_file = 'annotations/forms_val2017.json'
train_dataloader = dict(dataset=dict(ann_file='annotations/forms_train2017.json', metainfo=metainfo))
val_dataloader = dict(dataset=dict(ann_file=val_file, metainfo=metainfo))
test_dataloader = dict(dataset=dict(ann_file=val_file, metainfo=metainfo))
val_evaluator = dict(ann_file=_base_.data_root + val_file)
test_evaluator = dict(ann_file=_base_.data_root + val_file)

model = dict(
    backbone=dict(init_cfg=dict(checkpoint='workdir://resnet18_gcp_m_imagenette')),
    roi_head=dict(bbox_head=dict(num_classes=3), mask_head=dict(num_classes=3)))
