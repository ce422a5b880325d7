"""The tool that exports classifiers, on a network with random weights."""
import json

import torch
from mmengine.config import Config
from mmengine.registry import MODELS

import mmgcp.models  # noqa: F401

from .conftest import CLASSIFIER


def test_export(workplace):
    torch.manual_seed(0)
    cfg = Config.fromfile(workplace.folder / CLASSIFIER)
    model = MODELS.build(cfg.model)
    torch.save(dict(state_dict=model.state_dict(), meta={}), workplace.folder / 'weights.pth')
    command = ('export.py', CLASSIFIER, 'weights.pth', '--out')
    output = workplace.run(*command, 'network.pt')
    assert 'network.pt is written, for images of ' in output
    extra = {'preprocessing.json': ''}
    network = torch.jit.load(workplace.folder / 'network.pt', _extra_files=extra)
    images = torch.rand(5, 3, *json.loads(extra['preprocessing.json'])['size'])
    torch.testing.assert_close(network(images), model.eval()(images))
    assert 'Stopped: network.pt exists: delete it' in workplace.run(*command, 'network.pt', fails=True)
    assert 'Stopped: the format of network.jpg is unknown' in workplace.run(*command, 'network.jpg', fails=True)
