"""MMPretrain's RegNetX-400MF with mmgcp's pooling and learning rate; types ``mmgcp.X`` need no import."""
_base_ = [
    'mmpretrain::_base_/models/regnet/regnetx_400mf.py',
    'mmpretrain::_base_/datasets/imagenet_bs64_pil_resize.py',
    'mmpretrain::_base_/schedules/imagenet_bs256.py',
    'mmpretrain::_base_/default_runtime.py',
]

data_root = 'data/my_images'
num_classes = 10

model = dict(
    neck=dict(_delete_=True, type='mmgcp.GlobalCovariancePooling', in_channels=384, reduced_channels=128),
    head=dict(in_channels=8256, num_classes=num_classes))  # 128 * 129 / 2
param_scheduler = dict(_delete_=True, type='mmgcp.PolynomialLR', power=2, final_epoch=50)
train_cfg = dict(max_epochs=50)
custom_hooks = [dict(type='mmgcp.SanityCheckHook')]

data_preprocessor = dict(num_classes=num_classes)
train_dataloader = dict(dataset=dict(
    _delete_=True, type='CustomDataset', data_root=data_root, data_prefix='train', pipeline={{_base_.train_pipeline}}))
val_dataloader = dict(dataset=dict(
    _delete_=True, type='CustomDataset', data_root=data_root, data_prefix='val', pipeline={{_base_.test_pipeline}}))
test_dataloader = val_dataloader
val_evaluator = dict(topk=1)
test_evaluator = val_evaluator
