"""The tool that compares gradients, run in this process on the checkpoints of a training."""
import shutil
import zlib

import pytest
import torch

from mmgcp.analysis.table_1 import COVARIANCE, EXACT, GAP, KFAC, TRAINED, TRIMMED
from mmgcp.utils.records import read_records

from .conftest import CLASSIFIER

ROWS = [TRAINED, EXACT, TRIMMED, COVARIANCE, GAP, KFAC]


@pytest.fixture
def run(trained, analyse, tmp_path):
    """Runs the tool on a copy of the training, and returns the lines that it prints."""
    shutil.copytree(trained.folder / 'work_dirs/resnet18_gcp_m_shapes', tmp_path / 'run')
    (tmp_path / 'data').symlink_to(trained.folder / 'data')
    config, options = str(trained.folder / CLASSIFIER), ('--cfg-options', 'train_dataloader.batch_size=8')
    return lambda *arguments: analyse('compare_gradients.py', config, *arguments, '--work-dir', 'run',
                                      *options).splitlines()


def measured(lines):
    """How many checkpoints there were, and which were measured."""
    return [line.split(':')[0] for line in lines if 'to be measured' in line or 'gradients by' in line]


def test_checkpoints_are_measured_once(run, tmp_path):
    lines = run('run/epoch_1.pth', '--batches', '1')
    assert measured(lines) == ['1 checkpoints, 1 of them to be measured', '[1/1] run/epoch_1.pth']
    first = read_records('run/gradients.json')
    settings = dict(first.settings)
    assert settings.pop('libraries')['torch'] == torch.__version__
    assert len(settings.pop('fingerprint')) == 12 and settings.pop('network') > 0  # of the images and the config
    assert settings == dict(config='resnet18_gcp_m_shapes.py', batches=1, images=8, damping=1e-3, seed=0,
                            cfg_options={'train_dataloader.batch_size': 8})

    lines = run('--batches', '1', '--out', 'new/table_1.png', '--formats', 'svg')
    assert measured(lines) == ['3 checkpoints, 2 of them to be measured', '[1/2] run/epoch_2.pth',
                               '[2/2] run/epoch_3.pth']
    records = read_records('run/gradients.json').records
    assert records[:1] == first.records
    # 4 images of each of 12 classes, 8 of them in each of two processes.
    assert [(record['checkpoint'], record['iter']) for record in records] == [('epoch_1.pth', 3), ('epoch_2.pth', 6),
                                                                             ('epoch_3.pth', 9)]
    for record in records:
        assert record['crc32'] == zlib.crc32((tmp_path / 'run' / record['checkpoint']).read_bytes())
        assert record['layer'] == 'neck.reduction.conv' and list(record['rows']) == ROWS
        for name, row in record['rows'].items():
            assert row['norm'] > 0 and row['singular_values'][0] == 1 and row['cosines'][name] == pytest.approx(1)
        assert record['rows'][EXACT]['cosines'][TRAINED] > 0.5
        assert record['rows'][KFAC]['cosines'][GAP] > 0
    assert [line.split('|')[2].strip() for line in lines if line.startswith('| GCP, Eq. 7')] == ['3', '6', '9']
    assert lines[-1] == 'Figure: new/table_1.png new/table_1.svg'
    assert (tmp_path / 'new/table_1.png').stat().st_size > 5000


def test_mistakes_end_in_one_sentence(run, tmp_path, capsys):
    with pytest.raises(SystemExit, match=r'^\nStopped: the checkpoint nowhere.pth does not exist\.$'):
        run('nowhere.pth')
    with pytest.raises(SystemExit, match=r'^\nStopped: the training data have 6 batches of 8 images, but 7 are asked'):
        run('--batches', '7')
    with pytest.raises(SystemExit):
        run('--damping', '0')
    assert 'argument --damping: 0 must be positive' in capsys.readouterr().err
    assert not (tmp_path / 'run/gradients.json').exists()
    checkpoint = torch.load('run/epoch_1.pth', weights_only=False)
    torch.save(checkpoint['state_dict'], 'run/bare.pth')
    with pytest.raises(SystemExit, match=r'^\nStopped: run/bare.pth does not say after how many iterations'):
        run('run/bare.pth', '--batches', '1')
