import warnings

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook, ParamSchedulerHook
from mmengine.runner import Runner

from mmgcp.engine.schedulers import lr_curve
from mmgcp.utils.configs import configs_folder
from mmgcp.utils.errors import SetupError

from .models import Constant


def linear(start, end, first):
    return lambda e: start - (start - end) / 50 * (e - first)


def stages(*parts):
    """Stages of 50 epochs; e counts from 0."""
    return lambda e: parts[e // 50](e)


PAPER_ADJU = stages(linear(6e-2, 1e-3, 0), linear(1e-2, 1e-4, 50), linear(1e-3, 1e-5, 100))
RELEASE_ADJU = stages(linear(6e-2, 1e-2, 0), linear(1e-2, 1e-3, 50), linear(1e-3, 1e-5, 100))


@pytest.mark.parametrize('schedule, first, epochs, expected', [
    # Table 3; `first` is the number of the first epoch in its formulas.
    ('resnet_lr_norm', 0, 100, lambda e: 0.1**(e // 30 + 1)),
    ('resnet_lr_fast', 1, 30, lambda e: 0.1 * (1 - (e - 1) / 52)**11),
    ('resnet_lr_adju', 1, 50, lambda e: 0.1 * (1 - (e - 1) / 49)**2),
    ('mobilenetv2_lr_norm', 0, 400, lambda e: 0.045 * 0.98**e),
    ('mobilenetv2_lr_fast', 0, 100, lambda e: 0.06 * 0.92**e),
    ('mobilenetv2_lr_adju', 0, 150, PAPER_ADJU),
    ('shufflenetv2_lr_norm', 0, 240, lambda e: 0.5 * (1 - e / 240)),
    ('shufflenetv2_lr_fast', 0, 60, lambda e: 0.5 * (1 - e / 60)),
    ('shufflenetv2_lr_adju', 0, 100, lambda e: 0.5 * (1 - e / 100)),
    # The authors' release: stages without jumps.
    ('mobilenetv2_lr_adju_release', 0, 150, RELEASE_ADJU),
])
def test_schedules_of_table_3(schedule, first, epochs, expected):
    cfg = Config.fromfile(configs_folder() / '_base_' / 'schedules' / f'{schedule}.py')
    curve = lr_curve(cfg, epoch_length=3)
    assert (curve.shape, curve.dtype) == ((epochs, ), np.float64)
    np.testing.assert_allclose(curve, [expected(e) for e in range(first, first + epochs)], rtol=1e-9, atol=1e-15)


def test_schedule_of_detection():
    pytest.importorskip('mmdet')
    cfg = Config.fromfile(configs_folder() / '_base_' / 'detection_runtime.py')
    # A warm-up of 500 iterations from a thousandth, then a tenth at epochs 8 and 11
    steps = [0.01] * 7 + [0.001] * 3 + [0.0001]
    np.testing.assert_allclose(lr_curve(cfg), [1e-5, *steps], rtol=1e-9)
    np.testing.assert_allclose(lr_curve(cfg, epoch_length=400)[:3], [1e-5, 0.01 * (0.001 + 0.999 * 400 / 499), 0.01])


def config(*schedulers, epochs=6, lr=1., **optimizer):
    return dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=lr, **optimizer)), param_scheduler=list(schedulers),
                train_cfg=dict(by_epoch=True, max_epochs=epochs))


WARM_UP = dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=6)
COSINE = dict(type='CosineAnnealingLR', begin=1, convert_to_iter_based=True)


def test_warm_up_by_iteration_before_steps():
    curve = lr_curve(config(WARM_UP, dict(type='MultiStepLR', milestones=[3, 5])), epoch_length=4)
    np.testing.assert_allclose(curve, [0.1, 0.1 + 0.9 * 4 / 5, 1, 0.1, 0.1, 0.01], rtol=1e-12)


def test_a_warm_up_that_has_ended_costs_nothing(monkeypatch):
    calls, after_train_iter = [], ParamSchedulerHook.after_train_iter
    monkeypatch.setattr(ParamSchedulerHook, 'after_train_iter', lambda *args: calls.append(after_train_iter(*args)))
    curve = lr_curve(config(WARM_UP, dict(type='StepLR', step_size=3)), epoch_length=4)
    np.testing.assert_allclose(curve, [0.1, 0.1 + 0.9 * 4 / 5, 1, 0.1, 0.1, 0.1], rtol=1e-12)
    assert len(calls) == 8  # in the two epochs of the warm-up


def test_more_iterations_than_are_wanted():
    lr_curve(config(WARM_UP), epoch_length=400, max_iterations=6)
    with pytest.raises(SetupError, match='the schedules by iteration run for 6 iterations, more than 5'):
        lr_curve(config(WARM_UP), epoch_length=400, max_iterations=5)
    with pytest.raises(SetupError, match='run for 24 iterations'):
        lr_curve(config(COSINE, WARM_UP), epoch_length=4, max_iterations=23)


def test_cosine_converted_to_iterations():
    # It begins with the second epoch; by default it ends with the training, 20 iterations later.
    curve = lr_curve(config(COSINE, lr=0.2), epoch_length=4)
    np.testing.assert_allclose(curve, [0.2, *(0.1 * (1 + np.cos(np.pi * e / 5)) for e in range(5))], rtol=1e-9)


def test_length_of_an_epoch_does_not_change_the_starts_of_epochs():
    cfg = config(dict(type='mmgcp.PolynomialLR', power=2, final_epoch=6, convert_to_iter_based=True))
    np.testing.assert_allclose(lr_curve(cfg, epoch_length=1), lr_curve(cfg, epoch_length=1252), rtol=1e-12)


def test_momentum_may_be_scheduled_too():
    cfg = config(dict(type='StepMomentum', step_size=1), dict(type='StepLR', step_size=2), momentum=0.9)
    np.testing.assert_allclose(lr_curve(cfg), [1, 1, 0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize('settings', [None, []])
def test_constant_without_schedulers(settings):
    np.testing.assert_array_equal(lr_curve(dict(config(epochs=3, lr=0.3), param_scheduler=settings)), [0.3] * 3)


class LearningRates(Hook):
    """Keeps the lr with which each epoch starts."""

    def __init__(self):
        self.values = []

    def before_train_epoch(self, runner):
        self.values.append(runner.optim_wrapper.get_lr()['lr'][0])


@pytest.mark.parametrize('schedulers', [
    [WARM_UP, COSINE],
    [dict(type='CosineAnnealingLR', eta_min=0.1)],
    [dict(type='PolyLR', power=0.9, by_epoch=False)],
    [dict(type='OneCycleLR', eta_max=1., total_steps=6, convert_to_iter_based=True)],
    [dict(type='mmgcp.PolynomialLR', power=2, final_epoch=6, begin=1), WARM_UP],
    [dict(type='LinearLR', start_factor=0.001, by_epoch=False, end=7), dict(type='mmgcp.PolynomialLR', power=2,
                                                                            final_epoch=9)],
])
def test_the_same_as_in_a_training(schedulers, tmp_path):
    cfg, hook = config(*schedulers), LearningRates()
    runner = Runner(
        model=Constant(), work_dir=str(tmp_path), train_dataloader=torch.utils.data.DataLoader(torch.zeros(5, 1)),
        custom_hooks=[hook], default_hooks=dict(logger=None, checkpoint=None), log_level='ERROR',
        experiment_name=tmp_path.name, **cfg)
    runner.train()
    np.testing.assert_allclose(lr_curve(cfg, epoch_length=5), hook.values, rtol=1e-9)


def test_no_warnings_and_config_unchanged():
    cfg = config(WARM_UP, COSINE)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        lr_curve(cfg, epoch_length=2)
    assert cfg == config(WARM_UP, COSINE)


@pytest.mark.parametrize('changes, sentence', [
    (dict(train_cfg=dict(by_epoch=False, max_iters=90000)), 'has no train_cfg.max_epochs: .* counts iterations'),
    (dict(train_cfg=None), 'has no train_cfg.max_epochs'),
    (dict(optim_wrapper=dict(generator=dict(), discriminator=dict())), 'has no optim_wrapper.optimizer.lr'),
    (dict(optim_wrapper=dict(optimizer=dict(lr='fast'))), 'has no optim_wrapper.optimizer.lr of 0 or more, but fast'),
    (dict(param_scheduler=dict(type='MultiStepLR', milestones=[3], power=5)),
     r"param_scheduler=\{'type': 'MultiStepLR', .*\} cannot be built: .*unexpected keyword argument 'power'"),
    (dict(param_scheduler=dict(type='mmgcp.PolynomialLR', power=0, final_epoch=5)), 'power=0 must be positive'),
    (dict(param_scheduler=dict(type='NoLR')), 'cannot be built: .*NoLR is not in the'),
    (dict(param_scheduler=dict(milestones=[3])), 'cannot be built'),
    (dict(param_scheduler=dict(WARM_UP, convert_to_iter_based=True)), 'Only epoch-based parameter scheduler'),
    (dict(param_scheduler=dict(type='ReduceOnPlateauLR', monitor='loss')), 'follows the results of validation'),
])
def test_configs_without_a_curve(changes, sentence):
    with pytest.raises(SetupError, match=sentence):
        lr_curve(dict(config(), **changes))


def test_empty_epochs():
    with pytest.raises(SetupError, match='epoch_length=0 must be at least 1 iteration'):
        lr_curve(config(), epoch_length=0)
