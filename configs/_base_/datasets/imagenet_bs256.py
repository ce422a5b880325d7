"""ImageNet as folders, 256 images per GPU: 1024 on 4 GPUs."""
_base_ = './imagenet.py'

train_dataloader = dict(batch_size=256)
