import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS

from mmgcp.engine import PolynomialLR, StagewiseLinearLR
from mmgcp.engine.schedulers.closed_form import PolynomialMomentum

LR_FAST = dict(type='mmgcp.PolynomialLR', power=11, final_epoch=53)
LR_ADJU = dict(type='mmgcp.PolynomialLR', power=2, final_epoch=50)
MOBILENET_ADJU = dict(type='mmgcp.StagewiseLinearLR', stages=[(6e-2, 1e-3, 0), (1e-2, 1e-4, 50), (1e-3, 1e-5, 100)])


def sgd(lr=0.1, multiplier=None, **kwargs):
    """Optimizer of two layers, the second with a learning-rate multiplier."""
    model = torch.nn.ModuleDict({name: torch.nn.Linear(1, 1) for name in ('first', 'second')})
    paramwise = dict(custom_keys={'second': dict(lr_mult=multiplier)}) if multiplier else None
    return build_optim_wrapper(
        model, dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=lr, **kwargs), paramwise_cfg=paramwise))


def rates(optimizer, scheduler, steps, group=0):
    """lr that each step trains with."""
    values = []
    for _ in range(steps):
        values.append(optimizer.param_groups[group]['lr'])
        optimizer.optimizer.step()
        scheduler.step()
    return values


def run(cfg, steps, lr=0.1, **kwargs):
    optimizer = sgd(lr)
    return rates(optimizer, PARAM_SCHEDULERS.build(dict(cfg, optimizer=optimizer, **kwargs)), steps)


def test_lr_fast_of_table_3():
    expected = [0.1 * (1 - (e - 1) / 52)**11 for e in range(1, 31)]
    assert run(LR_FAST, 30) == pytest.approx(expected, rel=1e-12)


def test_lr_adju_of_table_3():
    expected = [0.1 * (1 - (e - 1) / 49)**2 for e in range(1, 51)]
    actual = run(LR_ADJU, 50)
    assert actual == pytest.approx(expected, rel=1e-12)
    assert actual[0] == 0.1 and actual[49] == 0


def test_release_counts_epochs_from_zero():
    paper, release = run(LR_ADJU, 49), run(dict(LR_ADJU, first_epoch=0), 50)
    assert release[0] == pytest.approx(0.1 * (50 / 49)**2)
    assert release[1:] == pytest.approx(paper, rel=1e-12)


def test_polynomial_stays_at_zero_behind_its_final_epoch():
    assert run(dict(LR_ADJU, power=3), 55)[49:] == [0.] * 6


def test_mobilenet_lr_adju_of_table_3():

    def linear(start, end, epoch, first):
        return start - (start - end) / 50 * (epoch - first)

    expected = ([linear(6e-2, 1e-3, e, 0) for e in range(50)] + [linear(1e-2, 1e-4, e, 50) for e in range(50, 100)]
                + [linear(1e-3, 1e-5, e, 100) for e in range(100, 150)])
    actual = run(MOBILENET_ADJU, 155, lr=6e-2)
    assert actual[:150] == pytest.approx(expected, rel=1e-12)
    assert actual[150:] == pytest.approx([1e-5] * 5)


@pytest.mark.parametrize('cfg', [LR_FAST, MOBILENET_ADJU, dict(LR_FAST, begin=2, end=30)])
def test_by_iteration_follows_the_same_curve(cfg):
    optimizer = sgd()
    scheduler = (PolynomialLR if 'power' in cfg else StagewiseLinearLR).build_iter_from_epoch(
        optimizer, epoch_length=4, **{k: v for k, v in cfg.items() if k != 'type'})
    by_iteration = rates(optimizer, scheduler, 120)
    assert by_iteration[::4] == pytest.approx(run(cfg, 30), rel=1e-12)
    if cfg == LR_FAST:
        assert by_iteration[2] == pytest.approx(0.1 * (1 - 0.5 / 52)**11)


@pytest.mark.parametrize('cfg', [LR_ADJU, MOBILENET_ADJU])
def test_multipliers_and_scaled_lr_keep_the_shape(cfg):
    optimizer = sgd(lr=0.4, multiplier=10)
    scheduler = PARAM_SCHEDULERS.build(dict(cfg, optimizer=optimizer))
    ratio = optimizer.param_groups[2]['lr'] / optimizer.param_groups[0]['lr']
    first = rates(optimizer, scheduler, 40)
    assert first == pytest.approx([4 * v * (0.1 / run(cfg, 1)[0]) for v in run(cfg, 40)], rel=1e-12)
    assert optimizer.param_groups[2]['lr'] == pytest.approx(ratio * optimizer.param_groups[0]['lr'])
    assert ratio == pytest.approx(10)


@pytest.mark.parametrize('cfg', [LR_ADJU, MOBILENET_ADJU])
def test_resumed_schedule_continues(cfg):
    expected = run(cfg, 40)
    optimizer = sgd()
    scheduler = PARAM_SCHEDULERS.build(dict(cfg, optimizer=optimizer))
    before = rates(optimizer, scheduler, 17)
    resumed_optimizer = sgd()
    resumed = PARAM_SCHEDULERS.build(dict(cfg, optimizer=resumed_optimizer))
    resumed_optimizer.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(scheduler.state_dict())
    assert before + rates(resumed_optimizer, resumed, 23) == expected


@pytest.mark.parametrize('by_iteration', [False, True])
def test_momentum_keeps_its_proportion_to_the_learning_rate(by_iteration):
    # m_e = m_0 / l_0 l_e
    optimizer = sgd(lr=8.18e-3, multiplier=2, momentum=0.997)
    cfg = dict(power=11, final_epoch=53)
    if by_iteration:
        schedulers = [kind.build_iter_from_epoch(optimizer, epoch_length=3, **cfg)
                      for kind in (PolynomialLR, PolynomialMomentum)]
    else:
        schedulers = [PARAM_SCHEDULERS.build(dict(type=f'mmgcp.Polynomial{value}', optimizer=optimizer, **cfg))
                      for value in ('LR', 'Momentum')]
    for step in range(60):
        epoch = 1 + step / (3 if by_iteration else 1)
        factor = max(1 - (epoch - 1) / 52, 0)**11
        for group, lr in zip(optimizer.optimizer.param_groups[::2], (8.18e-3, 2 * 8.18e-3), strict=True):
            assert group['lr'] == pytest.approx(lr * factor, rel=1e-12)
            assert group['momentum'] == pytest.approx(0.997 * factor, rel=1e-12)
        optimizer.optimizer.step()
        for scheduler in schedulers:
            scheduler.step()


def test_momentum_needs_an_optimizer_that_has_one():
    weights = [torch.nn.Parameter(torch.zeros(1))]
    with pytest.raises(ValueError, match='must support momentum'):
        PolynomialMomentum(torch.optim.Adagrad(weights, lr=0.1), power=2, final_epoch=50)


@pytest.mark.parametrize('cfg', [dict(LR_ADJU, convert=True), LR_ADJU, dict(MOBILENET_ADJU, convert=True)])
@pytest.mark.parametrize('warm_up_first', [True, False])
@pytest.mark.parametrize('end', [7, 20])
def test_is_multiplied_with_a_warm_up(cfg, warm_up_first, end):
    """Two layers; 5 iterations an epoch, a warm-up within the second epoch or up to the fourth."""
    cfg = dict(cfg)
    by_iteration = cfg.pop('convert', False)
    optimizer = sgd(multiplier=2)
    schedule = dict(cfg, optimizer=optimizer, epoch_length=5, convert_to_iter_based=True)
    settings = [dict(type='LinearLR', optimizer=optimizer, start_factor=0.001, by_epoch=False, end=end),
                schedule if by_iteration else dict(cfg, optimizer=optimizer)]
    schedulers = [PARAM_SCHEDULERS.build(setting) for setting in settings[::1 if warm_up_first else -1]]
    alone = sgd(multiplier=2)
    alone_schedule = PARAM_SCHEDULERS.build(dict(settings[1], optimizer=alone))
    for step in range(40):
        warm_up = min(1, 0.001 + 0.999 * step / (end - 1))
        for group, expected in zip(optimizer.param_groups, alone.param_groups, strict=True):
            assert group['lr'] == pytest.approx(expected['lr'] * warm_up, rel=1e-9)
        optimizer.optimizer.step()
        alone.optimizer.step()
        for scheduler in (*schedulers, alone_schedule):
            if not scheduler.by_epoch or step % 5 == 4:
                scheduler.step()


def test_stages_go_on_behind_a_rate_of_zero():
    cfg = dict(MOBILENET_ADJU, stages=[(0.1, 0., 0), (0.05, 0., 3)], stage_length=2)
    assert run(cfg, 5) == pytest.approx([0.1, 0.05, 0., 0.05, 0.025])


def test_begin_leaves_room_for_a_warm_up():
    optimizer = sgd()
    scheduler = PARAM_SCHEDULERS.build(dict(LR_ADJU, optimizer=optimizer, begin=5))
    assert rates(optimizer, scheduler, 12)[6:] == pytest.approx(run(LR_ADJU, 12)[6:])


@pytest.mark.parametrize('cfg, message', [
    (dict(LR_ADJU, final_epoch=1), 'final_epoch=1 must be greater than start_epoch=1'),
    (dict(LR_ADJU, power=0), 'power=0 must be positive'),
    (dict(MOBILENET_ADJU, stages=[]), 'must be triples'),
    (dict(MOBILENET_ADJU, stages=[(0.1, 0.01)]), 'must be triples'),
    (dict(MOBILENET_ADJU, stages=[(0.1, 0.01, 3)]), r'start epochs \[3\] .* must increase from first_epoch=0'),
    (dict(MOBILENET_ADJU, stages=[(0.1, 0.01, 0), (0.1, 0.01, 0)]), 'must increase'),
    (dict(MOBILENET_ADJU, stage_length=0), 'stage_length=0 must be positive'),
    (dict(MOBILENET_ADJU, stages=[(0., 0., 0)]), 'the first lr 0.0 and stage_length=50 must be positive'),
])
def test_wrong_settings(cfg, message):
    with pytest.raises(ValueError, match=message):
        run(cfg, 1)


def test_conversion_needs_the_length_of_an_epoch():
    with pytest.raises(ValueError, match='epoch_length=None'):
        PolynomialLR.build_iter_from_epoch(sgd(), power=2, final_epoch=50)
