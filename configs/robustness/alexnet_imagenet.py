"""AlexNet with torchvision's weights: its errors are the 100 of mCE, mFR and mT5D. For tests alone.

Example:
    python tools/test_robustness.py configs/robustness/alexnet_imagenet.py pretrained --benchmark imagenet-p
"""
_base_ = ['../_base_/datasets/imagenet.py', '../_base_/imagenet_runtime.py']

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmgcp.AlexNet', num_classes=1000,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://alexnet')),
    head=dict(type='ClsHead', topk=(1, 5)))
train_dataloader = None
train_cfg = None
val_dataloader = None
val_evaluator = None
val_cfg = None
test_cfg = dict()
