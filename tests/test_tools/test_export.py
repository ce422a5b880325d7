"""Classifiers exported by the real tool."""
import json

import torch
from mmengine.config import Config

from mmgcp.apis.complexity import build_network

CONFIG = '''
_base_ = 'mmgcp::gcp/resnet18_gcp_m_imagenet.py'
model = dict(
    backbone=dict(stem_channels=8, base_channels=8), neck=dict(in_channels=64, reduced_channels=8),
    head=dict(num_classes=2, in_channels=36))
test_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImageFromFile'), dict(type='CenterCrop', crop_size=64)]))
'''


def test_a_checkpoint_is_exported_with_its_preprocessing(workplace):
    config, checkpoint = workplace.folder / 'small.py', workplace.folder / 'small.pth'
    config.write_text(CONFIG)
    model = build_network(Config.fromfile(config))
    torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dict(classes=('cat', 'dog')))), checkpoint)
    printed = workplace.run('export.py', 'small.py', 'small.pth', '--out', 'made/small.pt')
    assert 'made/small.pt is written, for images of 64 x 64 pixels. The scores of random images' in printed
    extra, images = {'preprocessing.json': ''}, torch.randn(5, 3, 64, 64)
    network = torch.jit.load(workplace.folder / 'made/small.pt', _extra_files=extra)
    torch.testing.assert_close(network(images), model(images))
    assert json.loads(extra['preprocessing.json']) == dict(
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], channels='RGB', size=[64, 64],
        classes=['cat', 'dog'])
