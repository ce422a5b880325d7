from pathlib import Path

import pytest

from mmgcp.experiments import read_plan
from mmgcp.experiments.jobs import jobs_of
from mmgcp.utils.configs import configs_folder

PLANS = sorted((configs_folder().resolve().parent / 'reproduction/plans').glob('*.py'))


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
    assert len(jobs) == 8 * 5 + 3 * 3 and not plan.judged and not tuning.judged
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
