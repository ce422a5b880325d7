from pathlib import Path

import pytest

from mmgcp.experiments import Measurement, Training, read_plan
from mmgcp.experiments.jobs import jobs_of
from mmgcp.utils.configs import configs_folder
from mmgcp.utils.errors import SetupError

from .conftest import CONFIG, small_plan

PLANS = sorted((configs_folder().resolve().parent / 'plans').glob('*.py'))


@pytest.mark.parametrize('settings, sentence', [
    (dict(trainings=[Training('a', CONFIG), Training('a', CONFIG)]), "several .* called 'a'"),
    (dict(trainings=[Training('a', 'nowhere.py')]), "'a' has the config configs/nowhere.py, which does not exist"),
    (dict(trainings=[Training('a', CONFIG, starts_from='b'), Training('b', CONFIG)], measurements=[]),
     "'a' starts from 'b', which the plan does not train before it"),
    (dict(trainings=[Training('a', CONFIG, starts_from='a')], measurements=[]), "'a' starts from 'a', which"),
    (dict(measurements=[Measurement('m', 't.py', (), '*', ('b', ))]), "'m' is of 'b', which the plan does not train"),
])
def test_impossible_plans_are_refused(settings, sentence):
    with pytest.raises(SetupError, match=sentence):
        small_plan(**settings)


def test_plan_is_read_by_its_file(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text(f"from mmgcp.experiments import Plan, Training\nplan = Plan('t', [Training('a', '{CONFIG}')])")
    assert read_plan(path).name == 'mine'
    for text, sentence in (('plan = 3', 'must assign a Plan'), ('plan = (', 'cannot be read')):
        path.write_text(text)
        with pytest.raises(SetupError, match=sentence):
            read_plan(path)
    with pytest.raises(SetupError, match=r'other\.py does not exist: there are .*mine\.py'):
        read_plan(tmp_path / 'other.py')


@pytest.mark.parametrize('path', [path for path in PLANS if 'leaderboard' not in path.stem],
                         ids=lambda path: path.stem)
def test_plans_of_the_project(path):
    plan = read_plan(path)
    names = {training.name for training in plan.trainings}
    assert {f'resnet18_{pooling}_lr-{lr}' for pooling, lr in (
        ('gap', 'norm'), ('gap', 'adju'), ('gcp_d', 'adju'), ('gcp_m', 'adju'), ('gap_wo-ds', 'adju'))} <= names
    assert len(plan.seeds) >= 2


def test_plans_of_the_leaderboard():
    plan, tuning = (read_plan(PLANS[0].with_name(f'imagenette_leaderboard{end}.py')) for end in ('', '_tuning'))
    jobs = jobs_of(plan)
    assert len(jobs) == 6 * 5 + 3 * 3 and not plan.page and not tuning.page
    longer = next(job for job in jobs if job.training.name == 'resnet18d_gcp_m_20-epochs')
    assert longer.options['param_scheduler.begin'] == 14.4
    # There is no checkpoint without the state of the optimiser to go on from.
    assert longer.options['default_hooks.checkpoint.interval'] == longer.options['train_cfg.max_epochs'] == 20
    rates = [training.options['optim_wrapper.optimizer.lr'] for training in tuning.trainings]
    assert rates == 4 * [2e-3, 4e-3, 8e-3, 1.6e-2]
    assert all(training.config.endswith('_split.py') for training in tuning.trainings)
    assert not any(training.config.endswith('_split.py') for training in plan.trainings)


def test_there_are_plans():
    assert Path('imagenette_cpu.py') in [Path(path.name) for path in PLANS]
