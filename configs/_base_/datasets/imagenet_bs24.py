"""ImageNet as folders, 24 images per GPU: 96 on 4 GPUs."""
_base_ = './imagenet.py'

train_dataloader = dict(batch_size=24)
