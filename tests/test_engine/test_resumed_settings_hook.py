"""A training resumed with other settings goes on as if it had started with them."""
from uuid import uuid4

import pytest
import torch
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner

from mmgcp.engine.hooks import ResumedSettingsHook
from mmgcp.utils.errors import SetupError

from .models import Constant

POLYNOMIAL = dict(type='mmgcp.PolynomialLR', power=2, final_epoch=4)
SGD = dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.01)
WARM_UP = dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=7)
STEP = dict(type='StepLR', step_size=1, gamma=0.1, end=9)
PLATEAU = dict(type='ReduceOnPlateauLR', monitor='loss', end=9)


class Settings(Hook):
    """Keeps learning rate, momentum and weight decay of each iteration."""

    def __init__(self):
        self.values = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        group = runner.optim_wrapper.param_groups[0]
        self.values[runner.epoch, batch_idx] = [
            group['betas'][0] if 'betas' in group else group['momentum'], group['lr'], group['weight_decay']]


def train(folder, schedulers, epochs, batch=1, resume=None, loop='epochs', hooks=(), layers=None, **optimizer):
    """Settings of all iterations."""
    settings, optimizer = Settings(), dict(SGD, **optimizer)
    length = dict(by_epoch=True, max_epochs=epochs) if loop == 'epochs' else dict(by_epoch=False, max_iters=epochs)
    runner = Runner(
        model=Constant(), work_dir=str(folder), resume=bool(resume), load_from=resume, train_cfg=length,
        train_dataloader=torch.utils.data.DataLoader(torch.ones(6, 1), batch),
        optim_wrapper=dict(optimizer={name: value for name, value in optimizer.items() if value is not None},
                           paramwise_cfg=layers and dict(custom_keys=layers)),
        param_scheduler=[dict(scheduler) for scheduler in schedulers], custom_hooks=[settings, *hooks],
        default_hooks=dict(logger=None, checkpoint=None), experiment_name=uuid4().hex)
    runner.register_hook(CheckpointHook(interval=1, by_epoch=loop == 'epochs'))
    if resume:
        runner.register_hook(ResumedSettingsHook())
    runner.train()
    return settings.values


def log_of(folder):
    return max(folder.glob('*/*.log')).read_text()


@pytest.mark.parametrize('first, second, told', [
    (dict(schedulers=[POLYNOMIAL]), dict(schedulers=[dict(POLYNOMIAL, final_epoch=8)]),
     'PolynomialLR.final_epoch 4 -> 8'),
    # The length of the training is the default end of MMEngine's schedules.
    (dict(schedulers=[dict(type='CosineAnnealingLR')]), dict(schedulers=[dict(type='CosineAnnealingLR')]),
     'CosineAnnealingLR.T_max 2 -> 5, CosineAnnealingLR.end 2 -> 5'),
    (dict(schedulers=[]), dict(schedulers=[], lr=0.2, weight_decay=0.),
     'optimizer.lr 0.1 -> 0.2, optimizer.weight_decay 0.01 -> 0.0'),
    (dict(schedulers=[WARM_UP]), dict(schedulers=[WARM_UP, POLYNOMIAL]), 'number of schedules 1 -> 2'),
    (dict(schedulers=[WARM_UP, POLYNOMIAL]), dict(schedulers=[dict(WARM_UP, end=9), POLYNOMIAL]),
     'LinearLR.end 7 -> 9'),
    (dict(schedulers=[dict(POLYNOMIAL, convert_to_iter_based=True)]),
     dict(schedulers=[dict(POLYNOMIAL, convert_to_iter_based=True)], batch=2), 'PolynomialLR.epoch_length 6 -> 3'),
    (dict(schedulers=[dict(POLYNOMIAL, type='mmgcp.PolynomialMomentum')]),
     dict(schedulers=[dict(POLYNOMIAL, type='mmgcp.PolynomialMomentum', power=1)]), 'PolynomialMomentum.power 2 -> 1'),
    # Schedules of another type.
    (dict(schedulers=[STEP]), dict(schedulers=[dict(POLYNOMIAL, final_epoch=6, end=9)]),
     'PolynomialLR.final_epoch absent -> 6, PolynomialLR.first_epoch absent -> 1, PolynomialLR.gamma 0.1 -> absent'),
    (dict(schedulers=[STEP]), dict(schedulers=[dict(type='ExponentialLR', gamma=0.1, end=9)]),
     'ExponentialLR.step_size 1 -> absent'),
    (dict(schedulers=[PLATEAU]), dict(schedulers=[STEP]), 'StepLR.step_size absent -> 1'),
    (dict(schedulers=[WARM_UP, STEP]), dict(schedulers=[POLYNOMIAL]), 'number of schedules 2 -> 1'),
])
def test_changed_settings_count(first, second, told, tmp_path):
    train(tmp_path / 'a', epochs=2, **first)
    found = train(tmp_path / 'a', epochs=5, resume=str(tmp_path / 'a/epoch_1.pth'), **second)
    expected = train(tmp_path / 'b', epochs=5, **second)
    assert found == {key: pytest.approx(value, rel=1e-12) for key, value in expected.items() if key[0] >= 1}
    said = log_of(tmp_path / 'a').partition('Resumed with changed settings, as if the training had started with them: ')
    assert told in said[2].partition('\n')[0]


@pytest.mark.parametrize('settings', [
    dict(schedulers=[WARM_UP, dict(POLYNOMIAL, end=9)]), dict(schedulers=[]),
    dict(type='AdamW', momentum=None, schedulers=[dict(POLYNOMIAL, type='mmgcp.PolynomialMomentum', end=9)])])
def test_what_has_not_changed_is_not_touched(settings, tmp_path):
    expected = train(tmp_path / 'a', epochs=3, **settings)
    found = train(tmp_path / 'a', epochs=3, resume=str(tmp_path / 'a/epoch_1.pth'), **settings)
    assert found == {key: value for key, value in expected.items() if key[0] >= 1}
    assert 'Resumed with' not in log_of(tmp_path / 'a')


def test_what_a_schedule_has_seen_is_no_setting(tmp_path):
    plateau = dict(type='ReduceOnPlateauLR', monitor='loss', by_epoch=True, end=9)

    class Validation(Hook):

        def after_train_epoch(self, runner):
            for scheduler in runner.param_schedulers:
                scheduler.step(dict(loss=1.))
                scheduler.cooldown_counter = 2

    settings = dict(schedulers=[plateau], epochs=3, hooks=[Validation()])
    train(tmp_path / 'a', **settings)
    train(tmp_path / 'a', resume=str(tmp_path / 'a/epoch_2.pth'), **settings)
    assert 'Resumed with' not in log_of(tmp_path / 'a')


def test_the_next_checkpoint_has_nothing_of_a_schedule_of_another_type(tmp_path):
    for epochs, schedule in enumerate([STEP, dict(POLYNOMIAL, end=9), dict(POLYNOMIAL, end=9)], 1):
        resume = str(tmp_path / f'a/epoch_{epochs - 1}.pth') if epochs > 1 else None
        train(tmp_path / 'a', [schedule], epochs, resume=resume)
        saved = torch.load(tmp_path / f'a/epoch_{epochs}.pth', weights_only=False)['param_schedulers']
        assert ('gamma' in saved[0]) == (epochs == 1)


@pytest.mark.parametrize('first, second, told', [
    ([STEP], [PLATEAU], 'ReduceOnPlateauLR.gamma 0.1 -> absent'),
    ([PLATEAU], [WARM_UP, PLATEAU], 'number of schedules 1 -> 2'),
])
def test_a_schedule_that_follows_the_validation_does_not_replace_another(first, second, told, tmp_path):
    train(tmp_path / 'a', first, 1)
    with pytest.raises(SetupError, match=f'of other types than the config .*{told}.* start a new training'):
        train(tmp_path / 'a', second, 2, resume=str(tmp_path / 'a/epoch_1.pth'))


@pytest.mark.parametrize('first, second, told', [
    (dict(), dict(type='AdamW', momentum=None), 'settings dampening, momentum, nesterov, that of the config amsgrad'),
    (dict(type='AdamW', momentum=None), dict(), 'betas, .* of the config dampening, momentum, nesterov: keep the type'),
])
def test_an_optimizer_of_another_type_is_refused(first, second, told, tmp_path):
    train(tmp_path / 'a', [STEP], 1, **first)
    with pytest.raises(SetupError, match=told):
        train(tmp_path / 'a', [], 2, resume=str(tmp_path / 'a/epoch_1.pth'), **second)


@pytest.mark.parametrize('kind, settings, lacking', [
    ('AdamW', dict(amsgrad=True), 'max_exp_avg_sq'), ('RMSprop', dict(centered=True), 'grad_avg'),
    ('RMSprop', dict(momentum=0.9), 'momentum_buffer'), ('Adam', dict(type='Adamax'), 'exp_inf'),
    ('Adamax', dict(type='AdamW'), 'exp_avg_sq'), ('Adamax', dict(type='mmgcp.RAdamW'), 'exp_avg_sq')])
def test_what_the_optimizer_needs_and_the_checkpoint_has_not(kind, settings, lacking, tmp_path):
    first = dict(type=kind, momentum=0. if kind == 'RMSprop' else None)
    train(tmp_path / 'a', [], 1, **first)
    with pytest.raises(SetupError, match=f'^the checkpoint has no {lacking}, which .* start a new training'):
        train(tmp_path / 'a', [], 2, resume=str(tmp_path / 'a/epoch_1.pth'), **dict(first, **settings))


@pytest.mark.parametrize('first, second', [
    (dict(momentum=0.), dict()), (dict(type='AdamW', momentum=None, amsgrad=True), dict(type='AdamW', momentum=None))])
def test_settings_whose_state_is_not_missed_may_change(first, second, tmp_path):
    train(tmp_path / 'a', [], 1, **first)
    assert len(train(tmp_path / 'a', [], 2, resume=str(tmp_path / 'a/epoch_1.pth'), **second)) == 6


def test_other_groups_of_parameters(tmp_path):
    train(tmp_path / 'a', [], 1)
    with pytest.raises(SetupError, match='trains 2 tensors in 1 group, that of the config 2 tensors in 2 groups: keep'):
        train(tmp_path / 'a', [], 2, resume=str(tmp_path / 'a/epoch_1.pth'), layers={'weight': dict(lr_mult=2)})


def test_other_multipliers_of_layers_are_no_other_optimizer(tmp_path):
    train(tmp_path / 'a', [STEP], 1, layers={'weight': dict(lr_mult=0.5)})
    found = train(tmp_path / 'b', [STEP], 2, resume=str(tmp_path / 'a/epoch_1.pth'), layers={
        'weight': dict(decay_mult=0.)})
    expected = train(tmp_path / 'c', [STEP], 2, layers={'weight': dict(decay_mult=0.)})
    assert list(found.values()) == [pytest.approx(value) for value in list(expected.values())[6:]]


@pytest.mark.parametrize('empty', [None, {}])
def test_a_checkpoint_without_the_state_of_the_optimizer(empty, tmp_path):
    train(tmp_path / 'a', [STEP], 1)
    checkpoint = torch.load(tmp_path / 'a/epoch_1.pth', weights_only=False)
    checkpoint['optimizer'] = empty
    torch.save(checkpoint, tmp_path / 'small.pth')
    found = train(tmp_path / 'b', [STEP], 2, resume=str(tmp_path / 'small.pth'))
    assert [lr for _, lr, _ in found.values()] == pytest.approx(6 * [0.01])
    assert 'with them: state of the optimizer absent -> initial' in log_of(tmp_path / 'b')
    train(tmp_path / 'c', [PLATEAU], 1)
    checkpoint['param_schedulers'] = torch.load(tmp_path / 'c/epoch_1.pth', weights_only=False)['param_schedulers']
    torch.save(checkpoint, tmp_path / 'small.pth')
    with pytest.raises(SetupError, match='no state of the optimizer, and ReduceOnPlateauLR f'):
        train(tmp_path / 'd', [PLATEAU], 2, resume=str(tmp_path / 'small.pth'))


def test_training_by_iteration(tmp_path):
    by_iteration = dict(POLYNOMIAL, by_epoch=False)
    train(tmp_path / 'a', [dict(by_iteration, final_epoch=9)], 4, loop='iterations')
    found = train(tmp_path / 'a', [dict(by_iteration, final_epoch=20)], 8, loop='iterations',
                  resume=str(tmp_path / 'a/iter_4.pth'))
    expected = train(tmp_path / 'b', [dict(by_iteration, final_epoch=20)], 8, loop='iterations')
    assert list(found.values()) == [pytest.approx(value, rel=1e-12) for value in list(expected.values())[4:]]


def test_another_batch_beside_a_schedule_by_iteration(tmp_path):
    schedule = [dict(POLYNOMIAL, by_epoch=False, final_epoch=99, end=99)]
    train(tmp_path / 'a', schedule, 2, batch=2)
    train(tmp_path / 'a', schedule, 3, resume=str(tmp_path / 'a/epoch_2.pth'))
    told = 'An epoch has 6 iterations, but had 3 before: schedules by iteration run 2 times as fast'
    assert told in log_of(tmp_path / 'a')


def test_a_checkpoint_within_an_epoch(tmp_path):
    schedule = [dict(POLYNOMIAL, by_epoch=False, final_epoch=99, end=99)]
    train(tmp_path / 'a', schedule, 4, loop='iterations')
    train(tmp_path / 'a', schedule, 2, resume=str(tmp_path / 'a/iter_4.pth'))
    assert 'An epoch has' not in log_of(tmp_path / 'a')


def test_schedules_that_follow_the_validation_stay(tmp_path):
    train(tmp_path / 'a', [dict(type='ReduceOnPlateauLR', monitor='loss', end=9)], 1)
    train(tmp_path / 'a', [dict(type='ReduceOnPlateauLR', monitor='loss', end=9, factor=0.5)], 2,
          resume=str(tmp_path / 'a/epoch_1.pth'))
    assert 'these changes do not count: ReduceOnPlateauLR.factor 0.1 -> 0.5' in log_of(tmp_path / 'a')


def test_a_schedule_that_follows_the_validation_lasts_as_long_as_the_training(tmp_path):
    ends = []

    class End(Hook):

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            ends.append(runner.param_schedulers[0].end)

    plateau = dict(type='ReduceOnPlateauLR', monitor='loss', by_epoch=True)
    train(tmp_path / 'a', [dict(plateau, end=1)], 1)
    train(tmp_path / 'a', [dict(plateau, end=2)], 2, resume=str(tmp_path / 'a/epoch_1.pth'), hooks=[End()])
    assert set(ends) == {2} and 'do not count' not in log_of(tmp_path / 'a')


def test_an_optimizer_of_sparse_gradients(tmp_path):
    class Sparse(Constant):

        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Embedding(2, 1, sparse=True)

        def train_step(self, data, optim_wrapper):
            return super().train_step(data.long(), optim_wrapper)

    for epochs, hooks in ((1, []), (2, [ResumedSettingsHook()])):
        runner = Runner(
            model=Sparse(), work_dir=str(tmp_path), resume=bool(hooks), custom_hooks=hooks,
            train_cfg=dict(by_epoch=True, max_epochs=epochs),
            train_dataloader=torch.utils.data.DataLoader(torch.ones(6, 1)),
            optim_wrapper=dict(optimizer=dict(type='SparseAdam', lr=0.1)),
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)), experiment_name=uuid4().hex)
        runner.train()
    assert runner.iter == 12
