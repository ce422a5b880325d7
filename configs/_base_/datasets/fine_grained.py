"""Fine-grained data as folders, ``data/fine_grained/{train,val}/<class>/*``, crops of 448 px, 16 images per GPU.

Resizing and cropping are those of MMPretrain's CUB-200-2011 recipe; 200 classes, as there.
"""
_base_ = 'mmpretrain::_base_/datasets/cub_bs8_448.py'

train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    dataset=dict(
        _delete_=True,
        type='CustomDataset',
        data_root='data/fine_grained',
        data_prefix='train',
        pipeline={{_base_.train_pipeline}}))
val_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    dataset=dict(
        _delete_=True,
        type='CustomDataset',
        data_root='data/fine_grained',
        data_prefix='val',
        pipeline={{_base_.test_pipeline}}))
test_dataloader = val_dataloader
val_evaluator = dict(topk=(1, 5))
test_evaluator = val_evaluator
