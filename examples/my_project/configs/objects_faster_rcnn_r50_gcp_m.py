"""Faster R-CNN on COCO-format data in ``data/my_objects``, from the weights of ``images_resnet50_gcp_m.py``."""
_base_ = ['./_base_/mmgcp.py', 'mmgcp::faster_rcnn_r50_gcp_m.py']

data_root = 'data/my_objects/'
metainfo = dict(classes=('cat', 'dog'))  # names of the categories in the annotation files

model = dict(
    backbone=dict(init_cfg=dict(checkpoint='workdir://images_resnet50_gcp_m')),
    roi_head=dict(bbox_head=dict(num_classes=len(metainfo['classes']))))
train_dataloader = dict(dataset=dict(
    data_root=data_root, metainfo=metainfo, ann_file='annotations/train.json', data_prefix=dict(img='train/')))
val_dataloader = dict(dataset=dict(
    data_root=data_root, metainfo=metainfo, ann_file='annotations/val.json', data_prefix=dict(img='val/')))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/val.json')
test_evaluator = val_evaluator
