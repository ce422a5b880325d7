"""Fine-tuning: MMPretrain's schedule for CUB-200-2011, with 5 times the rate for the new classifier.

SGD with lr 0.01 for 64 images (16 on each of 4 GPUs), warm-up over 5 epochs, cosine decay to the 100th. A
pre-trained network needs a tenth of the rate that it was trained with; a new classifier does not.
"""
_base_ = 'mmpretrain::_base_/schedules/cub_bs64.py'

optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'head.fc': dict(lr_mult=5)}))
