"""Covariance pooling written into a config, trained and tested by the real tools."""
from .test_train import log_of

SOURCE = '''
_base_ = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'
model = dict(backbone=dict(stem_channels=16, base_channels=16), head=dict(num_classes=12, in_channels=128))
data_preprocessor = dict(num_classes=12)
train_pipeline = [dict(type='LoadImageFromFile'), dict(type='RandomFlip', prob=0.5), dict(type='PackInputs')]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='CenterCrop', crop_size=64), dict(type='PackInputs')]
train_dataloader = dict(batch_size=8, num_workers=0, persistent_workers=False, dataset=dict(
    _delete_=True, type='CustomDataset', data_root='data/shapes/imagenet/train', pipeline=train_pipeline, indices=8))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(
    _delete_=True, type='CustomDataset', data_root='data/shapes/imagenet/val', pipeline=test_pipeline))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=1)
default_hooks = dict(logger=dict(interval=1))
'''


def test_a_written_config_trains_and_tests(workplace):
    (workplace.folder / 'source.py').write_text(SOURCE)
    arguments = ('with_gcp.py', 'source.py', '--out', 'made/gcp.py', '--channels', '32', '--method', 'power')
    printed = workplace.run(*arguments)
    for sentence in ('ResNet returns a map of 128 channels, 2 x 2 pixels',
                     'GlobalCovariancePooling (power, 128 to 32 channels) replaces GlobalAveragePooling',
                     'LinearClsHead remains, and reads 528 numbers',
                     'Parameters: 0.70 to 0.71 million; FLOPs'):
        assert sentence in printed, printed
    workplace.run('train.py', 'made/gcp.py', '--work-dir', 'covariance')
    losses, results = log_of(workplace.folder / 'covariance')
    assert list(losses) == [(1, 1)] and 'accuracy/top1' in results[1]
    workplace.run('test.py', 'made/gcp.py', 'covariance/epoch_1.pth')
    printed = workplace.run(*arguments, fails=True)
    assert printed.endswith('\nStopped: made/gcp.py exists: delete it, or write another file.\n')
