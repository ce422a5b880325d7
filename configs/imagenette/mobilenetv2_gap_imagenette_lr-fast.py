_base_ = [
    '../_base_/models/mobilenetv2_gap.py',
    '../_base_/datasets/imagenette.py',
    '../_base_/schedules/imagenette_mobilenetv2_lr_fast.py',
    '../_base_/imagenet_runtime.py',
]

model = dict(head=dict(num_classes=10))
