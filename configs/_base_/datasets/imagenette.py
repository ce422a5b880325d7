"""Imagenette, 10 classes of ImageNet, at 128 px.

Download https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz (github.com/fastai/imagenette) and unpack it in
``data``: ``data/imagenette2-160/{train,val}/<class>/*.JPEG``.
"""
_base_ = './imagenet.py'

data_preprocessor = dict(num_classes=10)
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    dataset=dict(
        data_root='data/imagenette2-160',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='RandomResizedCrop', scale=128),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='PackInputs'),
        ]))
val_dataloader = dict(
    batch_size=64,
    num_workers=1,
    dataset=dict(
        data_root='data/imagenette2-160',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='ResizeEdge', scale=146, edge='short'),
            dict(type='CenterCrop', crop_size=128),
            dict(type='PackInputs'),
        ]))
test_dataloader = val_dataloader
