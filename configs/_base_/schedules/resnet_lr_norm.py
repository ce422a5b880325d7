"""LR_norm of ResNets (Table 3): 0.1, divided by 10 every 30 epochs; 100 epochs, batch 256, weight decay 1e-4."""
_base_ = 'mmpretrain::_base_/schedules/imagenet_bs256.py'
