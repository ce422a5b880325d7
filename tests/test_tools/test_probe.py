"""The tool that compares probes on frozen features, on drawn images and a backbone with random weights."""
import json
import re
import shutil

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from .conftest import CLASSIFIER

ROOT = 'data/shapes/imagenet'


@pytest.fixture(scope='module')
def weights(workplace):
    torch.manual_seed(0)
    torch.save(MODELS.build(Config.fromfile(workplace.folder / CLASSIFIER).model).state_dict(),
               workplace.folder / 'random.pth')
    return 'random.pth'


def test_saved_probe_has_its_accuracy_in_the_test_tool(workplace, weights):
    for split in ('train', 'val'):  # the same images: random features generalise to no others
        shutil.copytree(workplace.folder / ROOT / 'train', workplace.folder / 'easy' / split)
        for index, folder in enumerate(sorted((workplace.folder / 'easy' / split).iterdir())):
            folder.rename(folder.with_name(f'n{index:08}'))  # part of ImageNet's classes, with labels of their own
    command = ('probe.py', CLASSIFIER, weights, '--data', 'easy', '--seeds', '0', '1', '--lrs', '1e-2', '3e-2',
               '--epochs', '10', '--channels', '16', '--out', 'probes', '--cache', 'cache')
    output = workplace.run(*command)
    assert output.count('Features of 48 images') == 2
    folder = workplace.folder / 'probes'
    header, *rows = (folder / 'probes.csv').read_text().splitlines()
    assert header == 'probe,numbers,parameters,learning rate,held out (%),accuracy (%),spread,minutes'
    assert [row.split(',')[0] for row in rows] == ['linear', 'gcp', 'moment', 'attentive']
    assert rows[0].startswith('linear,128,"1,548",') and rows[1].startswith('gcp,136,')
    assert {path.name for path in folder.iterdir()} == {
        *(f'probes.{ending}' for ending in ('csv', 'json', 'png', 'pdf')),
        *(f'{name}.{ending}' for name in ('linear', 'gcp', 'moment', 'attentive') for ending in ('py', 'pth'))}
    made = json.loads((folder / 'probes.json').read_text())
    assert made['command'].startswith(f'python tools/probe.py {CLASSIFIER} random.pth --data')
    best = output.splitlines()[-1]
    claimed = float(best.partition(' % with seed 0')[0].split()[-1])
    saved = best.split()[-2:]
    assert saved == [f"probes/{best.split(': ')[1].split('.')[0]}.{ending}" for ending in ('py', 'pth')]
    tested = workplace.run('test.py', *saved)
    accuracy = float(re.search(r'accuracy/top1: ([\d.]+)', tested)[1])
    assert accuracy == pytest.approx(claimed, abs=0.006) and accuracy > 20  # chance is 8.3

    other = workplace.run(*command, '--fraction', '0.5', fails=True)
    assert 'Stopped: probes holds the probes of another command' in other
    again = workplace.run(*command[:-4], '--out', 'again', '--cache', 'cache')
    assert 'Features of' not in again
    assert again.splitlines()[-1].partition(':')[0] == best.partition(':')[0]


def test_bad_input(workplace, weights):
    data = workplace.folder / 'other'
    shutil.copytree(workplace.folder / ROOT, data)
    shutil.rmtree(next((data / 'val').iterdir()))
    output = workplace.run('probe.py', CLASSIFIER, weights, '--data', 'other', fails=True)
    assert re.search(r'Stopped: the \d+ class folders in other/val are not the \d+ of other/train: .*1 missing', output)
    assert 'Traceback' not in output
    for settings, sentence in ((('--epochs', '0'), 'epochs=0 must be at least 1'),
                               (('--fraction', '0.01'), 'fraction=0.01 leaves a class with a single photo')):
        output = workplace.run('probe.py', CLASSIFIER, weights, '--data', ROOT, *settings, fails=True)
        assert f'Stopped: {sentence}' in output and 'Features of' not in output  # before anything is computed
    command = ('probe.py', CLASSIFIER, weights, '--data', ROOT, '--cache', 'bad')
    output = workplace.run(*command, '--heads', '7', fails=True)
    assert 'Stopped: heads=7 must be at least 1 and divide channels=' in output
    assert output.count('Features of') == 1  # of the validation photos, and no probe is trained
    image = sorted((workplace.folder / ROOT / 'train').glob('*/*'))[-1]
    content = image.read_bytes()
    image.write_bytes(content[:100])
    output = workplace.run(*command, fails=True)
    image.write_bytes(content)
    assert re.search(rf'Stopped: [^\n]*{image.name}[^\n]*put a whole file there', output) and 'Traceback' not in output
