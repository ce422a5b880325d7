"""ImageNet as folders, 48 images per GPU: 192 on 4 GPUs."""
_base_ = './imagenet.py'

train_dataloader = dict(batch_size=48)
