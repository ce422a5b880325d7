"""Imagenette with AugMix of the training images (Hendrycks et al., ICLR 2020): torchvision's, without the JSD loss."""
_base_ = './imagenette.py'

train_dataloader = dict(dataset=dict(pipeline=[
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=128),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='NumpyToPIL', to_rgb=True),
    dict(type='torchvision/AugMix'),
    dict(type='PILToNumpy', to_bgr=True),
    dict(type='PackInputs'),
]))
