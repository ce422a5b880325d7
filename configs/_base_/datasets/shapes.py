"""Textured shapes in 12 classes, 64 px, made by ``tools/dataset_tools/make_shapes.py``; 32 images per process."""
_base_ = './imagenet.py'

data_preprocessor = dict(num_classes=12)
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    dataset=dict(
        data_root='data/shapes/imagenet',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='RandomCrop', crop_size=64, padding=8),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackInputs'),
        ]))
val_dataloader = dict(
    num_workers=1,
    dataset=dict(
        data_root='data/shapes/imagenet', pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='PackInputs'),
        ]))
test_dataloader = val_dataloader
