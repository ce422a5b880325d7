"""LR_fast of ResNets as the authors' release runs it: Eq. 9 with epochs counted from 0, so one epoch later throughout.

The first rate is above 0.1.
"""
_base_ = './resnet_lr_fast.py'

param_scheduler = dict(first_epoch=0)
