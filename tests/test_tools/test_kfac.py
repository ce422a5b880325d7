"""Training with K-FAC through the real tools."""
import json
import shutil

import pytest
import torch

from mmgcp.utils.checkpoint import load_state_dict

# Narrow, so that factors are small; intervals that the resumed run starts amid.
CONFIG = '''
_base_ = 'mmgcp::quickstart/resnet18_gap_shapes.py'

model = dict(backbone=dict(stem_channels=8, base_channels=8), head=dict(in_channels=64))
optim_wrapper = dict(
    type='mmgcp.KFACOptimWrapper', damping=0.1, kl_clip=0.01, factor_interval=2, inverse_interval=4, skip=['head'],
    accumulative_counts=2)
param_scheduler = [
    dict(type=f'mmgcp.Polynomial{value}', power=1, final_epoch=4, convert_to_iter_based=True)
    for value in ('LR', 'Momentum')]
train_dataloader = dict(batch_size=4)
default_hooks = dict(logger=dict(interval=1))
'''


@pytest.fixture(scope='module')
def train(workplace):
    """Trains that config for two epochs of 12 iterations; the work directory and what the tool printed."""
    config = workplace.folder / 'kfac.py'
    config.write_text(CONFIG)

    def train(work_dir, *arguments):
        work_dir = workplace.folder / 'kfac' / work_dir
        printed = workplace.run('train.py', config, '--no-validate', '--work-dir', work_dir, *arguments,
                                '--cfg-options', 'train_cfg.max_epochs=2')
        return work_dir, printed

    return train


@pytest.fixture(scope='module')
def whole(train):
    return train('whole')


def losses(work_dir):
    """Losses by iteration."""
    file, = work_dir.glob('*/vis_data/scalars.json')
    return {record['iter']: record['loss'] for record in map(json.loads, file.read_text().splitlines())}


def test_training_preconditions_all_but_what_is_skipped(whole):
    work_dir, printed = whole
    assert printed.count('K-FAC preconditions 20 layers with ') == 1
    record = losses(work_dir)
    assert sorted(record) == list(range(1, 25))
    assert all(loss < 10 for loss in record.values())  # NaN is not
    optimizer = torch.load(work_dir / 'epoch_2.pth', map_location='cpu', weights_only=False)['optimizer']
    group = optimizer['param_groups'][0]
    assert 0 < group['lr'] < 0.04 and group['momentum'] == pytest.approx(0.9 / 0.04 * group['lr'])
    state = optimizer['kfac']
    assert state['updates'] == 12 and len(state['factors']) == len(state['inverses']) == 20
    assert not any(name.startswith('head') for name in state['factors'])
    factor, = (factors[0] for name, factors in state['factors'].items() if name == 'backbone.conv1')
    assert factor.shape == (147, 147) and torch.equal(factor, factor.T) and factor.diagonal().min() > 0


def test_a_resumed_run_is_the_same(train, whole, workplace):
    """A checkpoint after six updates, where factors were measured and inverted in different ones."""
    folder = workplace.folder / 'kfac/resumed'
    folder.mkdir()
    shutil.copy(whole[0] / 'epoch_1.pth', folder)
    resumed, _ = train('resumed', '--resume', folder / 'epoch_1.pth')
    expected = losses(whole[0])
    assert losses(resumed) == {i: expected[i] for i in range(13, 25)}
    weights = load_state_dict(str(whole[0] / 'epoch_2.pth'))
    assert all(torch.equal(value, weights[name])
               for name, value in load_state_dict(str(resumed / 'epoch_2.pth')).items())
