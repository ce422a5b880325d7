"""A training killed between a checkpoint and its validation misses nothing once it is resumed."""
import re
from uuid import uuid4

import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner

from mmgcp.engine.hooks import ResumedSettingsHook, ResumedValidationHook

from .models import Constant


class Validated(Constant):
    """It predicts nothing."""

    def val_step(self, data):
        return [{}]


class One(BaseMetric):
    """1, which never gets better."""

    def process(self, data_batch, data_samples):
        self.results.append(1)

    def compute_metrics(self, results):
        return {'one': 1.}


class Course(Hook):
    """Keeps the steps of validations, and the learning rate of each training iteration."""

    def __init__(self):
        self.validated, self.rates = [], {}

    def after_val_epoch(self, runner, metrics=None):
        self.validated.append(runner.epoch if runner.train_loop.max_epochs > 1 else runner.iter)
        _, line = runner.log_processor.get_log_after_epoch(runner, 3, 'val')
        assert set(re.findall(r'(\w+): ', line)) <= {'one', 'time', 'data_time', 'eta'}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.rates[runner.iter] = runner.optim_wrapper.param_groups[0]['lr']


def train(folder, resume=None, by_epoch=True, saved=None, schedule=None, best=None, **train_cfg):
    """Four epochs of three iterations, or four iterations; a checkpoint after each, or every ``saved`` iterations."""
    course, loader = Course(), torch.utils.data.DataLoader(torch.ones(6, 1), 2)
    length = dict(by_epoch=True, max_epochs=4) if by_epoch else dict(by_epoch=False, max_iters=4)
    runner = Runner(
        model=Validated(), work_dir=str(folder), resume=bool(resume), load_from=resume,
        train_cfg=dict(dict(length, val_interval=1), **train_cfg), train_dataloader=loader, val_dataloader=loader,
        val_cfg={}, val_evaluator=Evaluator(One()), optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        param_scheduler=schedule, custom_hooks=[course], default_hooks=dict(logger=None, checkpoint=None),
        experiment_name=uuid4().hex)
    runner.register_hook(CheckpointHook(
        interval=saved or 1, by_epoch=by_epoch and not saved, save_best=best, rule='greater'))
    runner.register_hook(ResumedValidationHook())
    if resume:
        runner.register_hook(ResumedSettingsHook())
    runner.train()
    return course


@pytest.mark.parametrize('checkpoint, settings, expected', [
    ('epoch_2', {}, [2, 3, 4]),
    ('epoch_4', {}, [4]),  # nothing else is left to do
    ('epoch_1', dict(val_interval=2), [2, 4]),
    ('epoch_2', dict(val_interval=2), [2, 4]),
    ('epoch_4', dict(val_interval=3), [4]),
    ('epoch_2', dict(val_begin=3), [3, 4]),
    ('epoch_2', dict(val_interval=3, dynamic_intervals=[(2, 1)]), [2, 3, 4]),
    ('iter_2', dict(by_epoch=False), [2, 3, 4]),
    ('iter_4', dict(saved=2), [2, 3, 4]),  # within the second epoch: that was validated before
    ('iter_6', dict(saved=2), [2, 3, 4]),  # at its end, which MMEngine does not count as one
])
def test_what_a_resumed_training_validates(checkpoint, settings, expected, tmp_path):
    train(tmp_path, **settings)
    assert train(tmp_path, resume=str(tmp_path / f'{checkpoint}.pth'), **settings).validated == expected


@pytest.mark.parametrize('best', [None, 'one'])  # if so, the first checkpoint is saved again after its validation
@pytest.mark.parametrize('epoch', [1, 2, 3])
def test_a_schedule_that_follows_validations_goes_on_as_if_uninterrupted(epoch, best, tmp_path):
    schedule = dict(type='ReduceOnPlateauLR', monitor='one', patience=0, factor=0.5, rule='greater')
    settings = dict(schedule=schedule, best=best)
    whole = train(tmp_path, **settings).rates
    assert [whole[step] for step in (0, 3, 6, 9)] == [0.1, 0.1, 0.05, 0.025]
    resumed = train(tmp_path, resume=str(tmp_path / f'epoch_{epoch}.pth'), **settings)
    assert resumed.rates == {step: rate for step, rate in whole.items() if step >= 3 * epoch}
    assert resumed.validated == list(range(epoch, 5))  # the first for hooks that keep no state
