_base_ = [
    '../_base_/models/retinanet.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/detection_runtime.py',
]

model = dict(backbone=dict(init_cfg=dict(checkpoint='workdir://resnet50_gap_imagenet')))
# MMDetection's 0.01 is for 16 images, half that of Faster R-CNN.
optim_wrapper = dict(optimizer=dict(lr=0.005))
