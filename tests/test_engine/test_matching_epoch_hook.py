import json
from pathlib import Path

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from mmgcp.engine.hooks.matching_epoch_hook import MatchingEpochHook
from mmgcp.utils.errors import SetupError

NAN = float('nan')


class Numbers(Dataset):
    """8 numbers: 2 iterations an epoch."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return dict(inputs=torch.tensor([float(index)]))


class Line(BaseModel):

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(1, 1)

    def forward(self, inputs, mode='tensor'):
        return dict(loss=self.line(inputs).square().mean()) if mode == 'loss' else [{}] * len(inputs)


class Script(BaseMetric):
    """Gives the accuracies of a list, one per validation."""

    def __init__(self, values):
        super().__init__()
        self.values = list(values)

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return {'accuracy/top1': self.values.pop(0), 'accuracy/top5': 99.}


class Killed(Exception):
    """What ends a run."""


class Kill(Hook):
    """Ends the run right after a validation, as a signal would."""

    priority = 'LOWEST'

    def __init__(self, epoch):
        self.epoch = epoch

    def after_val_epoch(self, runner, metrics=None):
        if runner.epoch == self.epoch:
            raise Killed


def train(work_dir, hook, values, by_epoch=True, resume=False, kill=None, val=True,
          load_from=None):
    """A run of as many epochs of 2 iterations as there are values (with ``by_epoch=False``, of iterations)."""
    validation = dict(
        val_dataloader=dict(dataset=Numbers(), batch_size=8, num_workers=0, collate_fn=dict(type='default_collate'),
                            sampler=dict(type='DefaultSampler', shuffle=False)),
        val_cfg=dict(),
        val_evaluator=[Script(values)])
    steps = dict(max_epochs=len(values)) if by_epoch else dict(max_iters=len(values))
    train.number += 1
    runner = Runner(
        model=Line(),
        work_dir=str(work_dir),
        train_dataloader=dict(dataset=Numbers(), batch_size=4, num_workers=0, collate_fn=dict(type='default_collate'),
                              sampler=dict(type='DefaultSampler', shuffle=True)),
        train_cfg=dict(by_epoch=by_epoch, val_interval=1, **steps),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.001)),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=by_epoch),
                           checkpoint=dict(type='CheckpointHook', interval=1, by_epoch=by_epoch)),
        custom_hooks=[hook, *([Kill(kill)] if kill else [])],
        log_processor=dict(by_epoch=by_epoch),
        visualizer=dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')]),
        resume=resume,
        load_from=load_from,
        default_scope='mmengine',
        experiment_name=f'matching_epoch_{train.number}',  # each a process of its own
        **(validation if val else {}))
    runner.train()
    return runner


train.number = 0


def told(work_dir):
    """What the hook wrote into the logs, in the order of the starts."""
    lines = []
    for log in sorted(Path(work_dir).glob('*/*.log')):
        lines += [line.partition('INFO - ')[2] for line in log.read_text().splitlines()
                  if 'was reached at' in line or 'Matching ' in line and ' of ' in line]
    return lines


def test_first_epoch_that_reaches_the_target(tmp_path):
    hook = MatchingEpochHook(target=70.47)
    runner = train(tmp_path, hook, [50., NAN, 70.47, 60., 80.])
    assert hook.matching_epoch == 3 and runner.epoch == 5
    assert told(tmp_path) == ['accuracy/top1 70.47 was reached at epoch 3 with 70.47.',
                              'Matching epoch of accuracy/top1 70.47: 3.']


def test_not_reached(tmp_path):
    hook = MatchingEpochHook(target=75)
    train(tmp_path, hook, [50., 70.1, NAN])
    assert hook.matching_epoch is None
    assert told(tmp_path) == ['Matching epoch of accuracy/top1 75: not reached: best 70.1 at epoch 2.']


def test_nothing_but_nan(tmp_path):
    train(tmp_path, MatchingEpochHook(target=75), [NAN])
    assert told(tmp_path) == ['Matching epoch of accuracy/top1 75: not reached: no validation had a value.']


def test_trainings_by_iteration_count_iterations(tmp_path):
    hook = MatchingEpochHook(target=60)
    train(tmp_path, hook, [50., 55., 60., 70.], by_epoch=False)
    assert hook.matching_epoch == 3
    assert told(tmp_path)[-1] == 'Matching iteration of accuracy/top1 60: 3.'


@pytest.mark.parametrize('by_epoch', [True, False])
def test_stop(tmp_path, by_epoch):
    hook = MatchingEpochHook(target=60, stop=True)
    runner = train(tmp_path, hook, [50., 61., 70., 80.], by_epoch)
    assert (runner.epoch if by_epoch else runner.iter) == 2
    unit = 'epoch' if by_epoch else 'iteration'
    assert told(tmp_path) == [f'accuracy/top1 60 was reached at {unit} 2 with 61: the training ends.',
                              f'Matching {unit} of accuracy/top1 60: 2.']


def test_reference_counts_with_its_last_epoch(tmp_path):
    """As in the paper, 'undergoing full training epochs': not with its best one."""
    train(tmp_path / 'gap', MatchingEpochHook(target=99), [60., 72., NAN, 70.47])
    hook = MatchingEpochHook(reference=str(tmp_path / 'gap'))
    train(tmp_path / 'gcp', hook, [70., 70.47, 74.])
    assert (hook.target, hook.matching_epoch) == (70.47, 2)
    assert told(tmp_path / 'gcp')[0] == (
        f"accuracy/top1 70.47, the last of {tmp_path / 'gap'} was reached at epoch 2 with 70.47.")


# Killed after the matching epoch was validated. The checkpoint of that epoch is from before, that of the next knows it.
@pytest.mark.parametrize('kill', [2, 3])
@pytest.mark.parametrize('log', [True, False])
def test_resumed(tmp_path, kill, log):
    values = [50., 61., 70., 80.]
    with pytest.raises(Killed):
        train(tmp_path, MatchingEpochHook(target=60), values, kill=kill)
    if not log:
        next(tmp_path.glob('*/vis_data/scalars.json')).unlink()
    hook = MatchingEpochHook(target=60)
    runner = train(tmp_path, hook, values[kill:] + [0.] * kill, resume=True)
    assert runner.epoch == 4
    # Only without a log the validation that came after the last checkpoint is lost.
    assert hook.matching_epoch == (2 if log or kill == 3 else 3)


def test_resumed_before_what_was_logged(tmp_path):
    with pytest.raises(Killed):
        train(tmp_path, MatchingEpochHook(target=60), [50., 55., 61., 70.], kill=3)
    (tmp_path / 'epoch_3.pth').unlink()
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    hook = MatchingEpochHook(target=60)
    train(tmp_path, hook, [58., 62., 0., 0.], resume=True)
    assert hook.matching_epoch == 4 and hook.values == {1: 50, 2: 55, 3: 58, 4: 62}


def test_resumed_from_a_checkpoint_of_another_training(tmp_path):
    train(tmp_path / 'other', MatchingEpochHook(target=60), [65., 66.])
    train(tmp_path / 'source', MatchingEpochHook(target=60), [50., 55.])
    hook = MatchingEpochHook(target=60)
    train(tmp_path / 'other', hook, [61., 0., 0.], resume=True, load_from=str(tmp_path / 'source/epoch_2.pth'))
    # The checkpoint knows the first of its validations.
    assert hook.values == {1: 50, 3: 61} and hook.matching_epoch == 3
    # Nor do older logs count when it is resumed once more, from a checkpoint of its own.
    hook = MatchingEpochHook(target=60)
    train(tmp_path / 'other', hook, [62., 0., 0., 0.], resume=True)
    assert hook.values == {1: 50, 3: 61, 4: 62} and hook.matching_epoch == 3


def test_stopped_training_ends_at_once_when_resumed(tmp_path):
    train(tmp_path, MatchingEpochHook(target=60, stop=True), [50., 61., 70., 80.])
    runner = train(tmp_path, MatchingEpochHook(target=60, stop=True), [70., 80., 0., 0.], resume=True)
    assert runner.epoch == 2


@pytest.mark.parametrize('settings', [{}, dict(target=70, reference='work_dirs/gap')])
def test_either_target_or_reference(settings):
    with pytest.raises(ValueError, match='needs either target, .*, or reference'):
        MatchingEpochHook(**settings)


@pytest.mark.parametrize('target', [NAN, float('inf')])
def test_target_is_finite(target):
    with pytest.raises(ValueError, match='must be a finite number'):
        MatchingEpochHook(target=target)


def test_metric_that_is_not_measured(tmp_path):
    with pytest.raises(SetupError, match="waits for 'mIoU', .* set metric to one of accuracy/top1, accuracy/top5"):
        train(tmp_path, MatchingEpochHook(target=70, metric='mIoU'), [50., 60.])


@pytest.mark.parametrize('lines, sentence', [
    (None, "gap' holds no log of mmengine"),
    ([{'mIoU': 1., 'step': 1}], "has no metric 'accuracy/top1': choose one of mIoU"),
    ([{'accuracy/top1': NAN, 'step': 1}], "ends with nan for 'accuracy/top1'"),
])
def test_reference_without_a_value_is_refused_before_training(tmp_path, lines, sentence):
    if lines:
        log = tmp_path / 'gap' / '20240101_000000' / 'vis_data' / 'scalars.json'
        log.parent.mkdir(parents=True)
        log.write_text(''.join(json.dumps(line) + '\n' for line in [dict(epoch=1, iter=1, step=1), *lines]))
    with pytest.raises(SetupError, match=sentence):
        train(tmp_path / 'gcp', MatchingEpochHook(reference=str(tmp_path / 'gap')), [50.])
    assert not list((tmp_path / 'gcp').glob('*.pth'))


def test_training_without_validation_is_refused(tmp_path):
    with pytest.raises(SetupError, match='needs validation: set val_dataloader'):
        train(tmp_path, MatchingEpochHook(target=70), [50.], val=False)
