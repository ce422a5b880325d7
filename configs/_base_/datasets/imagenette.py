"""Imagenette, 10 classes of ImageNet (github.com/fastai/imagenette, 160 px version), in data/imagenette; 80 px."""
_base_ = './imagenet.py'

data_preprocessor = dict(num_classes=10)
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    dataset=dict(
        data_root='data/imagenette',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='RandomResizedCrop', scale=80),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='PackInputs'),
        ]))
val_dataloader = dict(
    batch_size=64,
    num_workers=1,
    dataset=dict(
        data_root='data/imagenette',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='ResizeEdge', scale=96, edge='short'),
            dict(type='CenterCrop', crop_size=80),
            dict(type='PackInputs'),
        ]))
test_dataloader = val_dataloader
