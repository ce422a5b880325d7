import pytest
from mmengine.config import Config
from mmengine.hooks import ParamSchedulerHook

from mmgcp.apis.checks_schedule import check_schedule
from mmgcp.apis.launch import load_config
from mmgcp.utils.configs import configs_folder
from mmgcp.utils.errors import SetupError

CONFIGS = [path for path in sorted(configs_folder().rglob('*.py')) if not {'_base_', 'robustness'} & set(path.parts)]


def config(train_cfg, *schedulers):
    return Config(dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)), train_cfg=train_cfg,
                       param_scheduler=list(schedulers)))


def test_epochs_at_rate_0():
    schedule = dict(type='mmgcp.PolynomialLR', power=1, final_epoch=2)
    assert check_schedule(config(dict(max_epochs=2), schedule)) is None
    warning = check_schedule(config(dict(max_epochs=4), schedule))
    assert warning.startswith('The learning rate is 0 in 3 of 4 epochs (2 to 4), in which nothing is learnt')


def test_schedule_by_epoch_in_a_training_by_iteration():
    warning = check_schedule(config(dict(max_iters=40), dict(type='MultiStepLR', milestones=[2])))
    assert warning.startswith('The training counts iterations, but MultiStepLR counts epochs, which never end')
    for fitting in (dict(by_epoch=False), dict(convert_to_iter_based=True, end=4)):
        schedule = dict(type='MultiStepLR', milestones=[2], **fitting)
        assert check_schedule(config(dict(max_iters=40), schedule)) is None


@pytest.mark.parametrize('schedule, length', [
    (dict(type='CosineAnnealingLR', T_max=2, eta_min=0.01, end=3), 1),
    (dict(type='LinearLR', start_factor=1, end_factor=0.1, by_epoch=False, end=12), 4),
    (dict(type='MultiStepLR', milestones=[2], end=3), 1)])
def test_epochs_after_the_schedule(schedule, length):
    warning = check_schedule(config(dict(max_epochs=6), schedule), length)
    assert warning.startswith('The learning rate stays at 0.01 from epoch 4 to 6, as all schedules have ended')
    assert check_schedule(config(dict(max_epochs=3), schedule), length) is None


def test_half_the_batch_ends_a_schedule_by_iteration_early():
    schedule = dict(type='mmgcp.PolynomialLR', power=1, final_epoch=41, start_epoch=1, by_epoch=False)
    assert check_schedule(config(dict(max_epochs=4), schedule), 10) is None
    assert 'is 0 in 2 of 4 epochs (3 to 4)' in check_schedule(config(dict(max_epochs=4), schedule), 20)


@pytest.mark.parametrize('schedule', [dict(type='ConstantLR', factor=0), dict(type='LinearMomentum', start_factor=0.)])
def test_schedules_that_divide_by_zero(schedule):
    for length in (dict(max_epochs=9), dict(max_iters=9)):
        with pytest.raises(SetupError, match=rf"{schedule['type']} .* divides by it later: set .* such as 1e-6"):
            check_schedule(config(length, schedule))
    assert check_schedule(config(dict(max_epochs=9), dict(type='ReduceOnPlateauLR', factor=0))) is None


def test_constant_rates_are_meant():
    warm_up = dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=9)
    for schedules in ([warm_up], [], [warm_up, dict(type='MultiStepLR', milestones=[2])]):
        assert check_schedule(config(dict(max_epochs=9), *schedules), 5) is None


def test_schedules_that_are_not_known_before():
    assert check_schedule(config(dict(max_epochs=4), dict(type='ReduceOnPlateauLR', monitor='loss'))) is None


def test_schedules_that_take_too_long_to_simulate(monkeypatch):
    monkeypatch.setattr(ParamSchedulerHook, 'after_train_iter', lambda *_: pytest.fail('simulated'))
    schedule = dict(type='mmgcp.PolynomialLR', power=1, final_epoch=2)
    assert 'is 0 in 3 of 4 epochs' in check_schedule(config(dict(max_epochs=4), schedule), 250_001)
    assert check_schedule(config(dict(max_epochs=4), dict(schedule, convert_to_iter_based=True)), 250_001) is None


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_schedules_of_the_project_fit(path):
    assert check_schedule(load_config(str(path))) is None
