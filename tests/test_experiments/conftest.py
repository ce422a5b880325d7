"""A small plan, and results of it that are made up so that what follows from them can be computed by hand."""
import json
from pathlib import Path

import pytest

from mmgcp.experiments import Measurement, Plan, Training
from mmgcp.experiments.jobs import jobs_of

ENVIRONMENT = dict(python='3.11', torch='2.11.0', hardware='a machine', threads=2, commit='abc')
CONFIG = 'imagenette/resnet18_gap_imagenette.py'


def small_plan(**settings) -> Plan:
    """GAP and GCP_M under two schedules, a detector, and a test of robustness."""
    return Plan(**{**dict(
        title='A plan',
        name='small',
        seeds=(0, 1),
        options={'train_cfg.max_epochs': 4},
        trainings=[
            Training('resnet18_gap_lr-norm', CONFIG),
            Training('resnet18_gap_lr-adju', CONFIG, {'train_cfg.max_epochs': 2}),
            Training('resnet18_gcp_m_lr-adju', 'imagenette/resnet18_gcp_m_imagenette.py', {'train_cfg.max_epochs': 2}),
            Training('resnet18_gcp_m_lr-adju_64-px', 'imagenette/resnet18_gcp_m_imagenette.py', seeds=(0, )),
            Training('mask_rcnn_r18_gap', 'quickstart/mask_rcnn_r18_gcp_m_shapes.py', shared=False,
                     starts_from='resnet18_gap_lr-adju'),
        ],
        measurements=[Measurement('robustness_c', 'test_robustness.py', ('{config}', '{checkpoint}', '--amp'),
                                  'robustness/*.json', ('resnet18_gap_lr-adju', 'resnet18_gcp_m_lr-adju'))],
    ), **settings})


def write(path: Path, settings: dict, records: list[dict]) -> None:
    """A file of records."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(json.dumps(line) + '\n' for line in ({'settings': settings}, *records)))


@pytest.fixture
def plan() -> Plan:
    return small_plan()


@pytest.fixture
def results(tmp_path, plan) -> Path:
    """Top-1 accuracies by epoch: GAP 40, 50, 60, 70 and 50, 58; GCP_M 64, 75 (seed 1: a point more each)."""
    curves = {'resnet18_gap_lr-norm': [40, 50, 60, 70], 'resnet18_gap_lr-adju': [50, 58],
              'resnet18_gcp_m_lr-adju': [64, 75], 'resnet18_gcp_m_lr-adju_64-px': [60, 71]}
    folder = tmp_path / 'results'
    for job in jobs_of(plan):
        settings = dict(identity=job.identity(), seed=job.seed, command=f'train {job}', seconds=1800,
                        environment=ENVIRONMENT)
        if job.measurement:
            errors = {'clean': 40, **{f'{kind}/{level}': 40 + 5 * level + job.seed for kind in ('fog', 'snow')
                                      for level in range(1, 6)}}
            gain = 6 if 'gcp' in job.training.name else 0
            write(folder / job.result, {**settings, 'measured': {}}, [
                dict(set=name, metrics={'accuracy/top1': 100. - error + gain}, items=100, seconds=1)
                for name, error in errors.items()])
        elif job.training.name in curves:
            val = [{'step': epoch, 'accuracy/top1': value + job.seed, 'accuracy/top5': 95.}
                   for epoch, value in enumerate(curves[job.training.name], 1)]
            train = [dict(iter=i, epoch=1, loss=1., lr=0.1, time=0.25 * i) for i in (1, 2, 3)]
            write(folder / job.result, settings, [*train, *val])
        else:
            write(folder / job.result, settings, [{'step': 5, 'coco/bbox_mAP': 0.2, 'coco/segm_mAP': 0.19}])
    return folder
