import pytest
from mmengine.config import Config

from mmgcp.apis.checks_schedule import schedule_warning
from mmgcp.apis.launch import load_config
from mmgcp.utils.configs import configs_folder

CONFIGS = [path for path in sorted(configs_folder().rglob('*.py')) if not {'_base_', 'robustness'} & set(path.parts)]


def config(train_cfg, *schedulers):
    return Config(dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)), train_cfg=train_cfg,
                       param_scheduler=list(schedulers)))


def test_epochs_at_rate_0():
    schedule = dict(type='mmgcp.PolynomialLR', power=1, final_epoch=2)
    assert schedule_warning(config(dict(max_epochs=2), schedule)) is None
    warning = schedule_warning(config(dict(max_epochs=4), schedule))
    assert warning.startswith('The learning rate is 0 in 3 of 4 epochs (2 to 4), in which nothing is learnt')


def test_schedule_by_epoch_in_a_training_by_iteration():
    warning = schedule_warning(config(dict(max_iters=40), dict(type='MultiStepLR', milestones=[2])))
    assert warning.startswith('The training counts iterations: MultiStepLR, which step by epoch, may never step')
    by_iteration = dict(type='MultiStepLR', milestones=[2], by_epoch=False)
    assert schedule_warning(config(dict(max_iters=40), by_iteration)) is None


def test_schedules_that_are_not_known_before():
    assert schedule_warning(config(dict(max_epochs=4), dict(type='ReduceOnPlateauLR', monitor='loss'))) is None


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_schedules_of_the_project_fit(path):
    assert schedule_warning(load_config(str(path))) is None
