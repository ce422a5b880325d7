"""ImageNet as folders, ``data/imagenet/{train,val}/<class>/*``, 64 images per GPU: the paper's 256 on 4 GPUs.

For other data in this layout, set both ``data_root`` and ``model.head.num_classes``.
"""
_base_ = 'mmpretrain::_base_/datasets/imagenet_bs64_pil_resize.py'

train_dataloader = dict(
    collate_fn=dict(type='default_collate'),
    pin_memory=True,
    dataset=dict(
        _delete_=True,
        type='CustomDataset',
        data_root='data/imagenet',
        data_prefix='train',
        pipeline={{_base_.train_pipeline}}))
val_dataloader = dict(
    collate_fn=dict(type='default_collate'),
    pin_memory=True,
    persistent_workers=True,
    dataset=dict(
        _delete_=True,
        type='CustomDataset',
        data_root='data/imagenet',
        data_prefix='val',
        pipeline={{_base_.test_pipeline}}))
test_dataloader = val_dataloader
