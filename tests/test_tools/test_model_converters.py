"""From a released file to an evaluation, a published backbone and torchvision, by the real command lines."""
import re
import runpy
import shlex
import sys

import pytest
import torch
import torchvision

from mmgcp.utils.checkpoint import load_state_dict

from .conftest import ROOT

DATA = ('test_dataloader.dataset.data_root=data/shapes/imagenet', 'test_dataloader.num_workers=0',
        'test_dataloader.persistent_workers=False')


@pytest.fixture(scope='module')
def released(workplace):
    """ResNet-18 for the drawn shapes as the release would save it; returns the network and the file."""
    torch.manual_seed(0)
    network = torchvision.models.resnet18(weights=None, num_classes=12).eval()
    torch.save(dict(epoch=100, arch='resnet18', best_acc1=torch.tensor([70.5]), optimizer={},
                    state_dict={f'module.{k}': v for k, v in network.state_dict().items()}),
               workplace.folder / 'model_best.pth.tar')
    return network, 'model_best.pth.tar'


@pytest.fixture(scope='module')
def converted(workplace, released):
    """Output of the conversion with evaluation."""
    return workplace.run('model_converters/released_to_mmgcp.py', released[1], 'made/resnet18.pth', '--evaluate',
                         '--cfg-options', *DATA)


def test_conversion_and_evaluation_in_one_command(workplace, converted):
    assert 'model_best.pth.tar: resnet18 with GAP, 12 classes' in converted
    assert 'file: model_best.pth.tar, arch: resnet18, epoch: 100, best_acc1: 70.5' in converted
    command = re.search('Evaluate it with: (.*)', converted)[1]
    assert command == ('tools/dist_test.sh configs/gap/resnet18_gap_imagenet.py made/resnet18.pth 4 --cfg-options '
                       'model.head.num_classes=12')
    accuracy = re.search(r'accuracy/top1: ([\d.]+)', converted)[1]
    # The command that is printed gives the same.
    tool, config, checkpoint, _, *options = shlex.split(command)
    out = workplace.run('test.py', config, checkpoint, *options, *DATA)
    assert re.search(r'accuracy/top1: ([\d.]+)', out)[1] == accuracy


def test_publishing_and_torchvision(workplace, released, converted):
    network, _ = released
    out = workplace.run('model_converters/publish_backbone.py', 'made/resnet18.pth', 'made/r18')
    published = re.search(r'Written: (made/r18-[0-9a-f]{8}\.pth), [\d.]+ MB of [\d.]+ MB', out)[1]
    assert out.splitlines()[-1] == ('Start a detector from it with: --cfg-options '
                                    f'model.backbone.init_cfg.checkpoint={published}')
    out = workplace.run('model_converters/mmgcp_to_torchvision.py', published, 'made/torchvision.pth')
    assert 'torchvision.models.resnet18()' in out
    state_dict = load_state_dict(str(workplace.folder / 'made/torchvision.pth'))
    assert set(state_dict) == {name for name in network.state_dict() if not name.startswith('fc.')}
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in state_dict.items())


@pytest.mark.parametrize('tool', ['released_to_mmgcp', 'publish_backbone', 'mmgcp_to_torchvision'])
def test_mistakes_end_in_one_sentence(tool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(dict(optimizer={}), 'optimizer.pth')
    for file, sentence in (('nowhere.pth', 'the checkpoint nowhere.pth does not exist'),
                           ('optimizer.pth', 'optimizer.pth (holds no weights|has no backbone): .*')):
        monkeypatch.setattr(sys, 'argv', [tool, file, 'out'])
        with pytest.raises(SystemExit, match=rf'^\nStopped: {sentence}\.$'):
            runpy.run_path(str(ROOT / f'tools/model_converters/{tool}.py'), run_name='__main__')
        assert not (tmp_path / 'out').exists()
