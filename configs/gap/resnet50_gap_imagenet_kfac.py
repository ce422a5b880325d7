"""ResNet-50 with global average pooling and K-FAC (Table 2): 4 GPUs with 64 images, 16 times accumulated, make 4,096.

Augmented as by Osawa et al., CVPR 2019: random erasing and mixup with 0.4, but mixup between images of one batch, where
theirs mixes with a running average over batches.
"""
_base_ = [
    '../_base_/models/resnet50_gap.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/resnet_kfac.py',
    '../_base_/imagenet_runtime.py',
]

model = dict(
    head=dict(loss=dict(use_soft=True)),  # labels of mixed images
    train_cfg=dict(augments=dict(type='Mixup', alpha=0.4)))
train_dataloader = dict(
    dataset=dict(pipeline=[
        *_base_.train_pipeline[:-1],
        dict(type='RandomErasing', erase_prob=0.5, max_area_ratio=0.25, fill_color=(103.53, 116.28, 123.675)),
        _base_.train_pipeline[-1],
    ]))
