"""Imagenette under the rules of its leaderboard at 128 px: test photos are as large as training photos.

The shorter side is resized to 128; the longer one is cropped at random in training, and at the centre in validation.
Flips are the only other augmentation: no random scale, no colours. Batch 32.
"""
_base_ = './imagenette.py'

train_dataloader = dict(
    batch_size=32,
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='ResizeEdge', scale=128, edge='short', backend='pillow'),
            dict(type='RandomCrop', crop_size=128),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='PackInputs'),
        ]))
val_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='ResizeEdge', scale=128, edge='short', backend='pillow'),
            dict(type='CenterCrop', crop_size=128),
            dict(type='PackInputs'),
        ]))
test_dataloader = val_dataloader
