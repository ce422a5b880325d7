_base_ = [
    '../_base_/models/mobilenetv2_gcp.py',
    '../_base_/datasets/fine_grained.py',
    '../_base_/schedules/fine_grained.py',
    '../_base_/imagenet_runtime.py',
]

model = dict(head=dict(num_classes=200))
load_from = 'workdir://mobilenetv2_gcp_imagenet'
