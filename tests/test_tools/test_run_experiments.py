"""A plan of two trainings and a measurement, run, interrupted and repeated, at tiny scale."""
import json
import re
import runpy
import signal
import sys
from pathlib import Path

import pytest

from mmgcp.experiments import driver, read_plan
from mmgcp.experiments.jobs import jobs_of
from mmgcp.utils.records import write_records

from .conftest import ROOT

PLAN = '''
from mmgcp.experiments import Measurement, Plan, Training

plan = Plan(
    title='Drawn shapes',
    seeds=(0, ),
    options={
        'train_dataloader.batch_size': 8, 'train_cfg.max_epochs': 2, 'default_hooks.logger.interval': 1,
        'param_scheduler.final_epoch': 3, 'optim_wrapper.type': 'mmgcp.BFloat16OptimWrapper',
        'randomness.deterministic': True, 'model.backbone.stem_channels': 8, 'model.backbone.base_channels': 8},
    trainings=[
        Training('resnet18_gap_lr-norm', 'quickstart/resnet18_gap_shapes.py', {'model.head.in_channels': 64}),
        Training('resnet18_gcp_m_lr-adju', 'quickstart/resnet18_gcp_m_shapes.py', {
            'model.neck.in_channels': 64, 'model.neck.reduced_channels': 16, 'model.head.in_channels': 136,
            'default_hooks.landscape.type': 'mmgcp.LandscapeHook', 'default_hooks.landscape.step_range': [0.1, 10],
            'default_hooks.landscape.num_steps': 2, 'default_hooks.landscape.interval': 4,
            'default_hooks.weights.type': 'mmgcp.LandscapeHook', 'default_hooks.weights.step_range': [0.1, 0.1],
            'default_hooks.weights.num_steps': 1, 'default_hooks.weights.interval': 6,
            'default_hooks.weights.at': 'weights'}),
    ],
    measurements=[Measurement(
        'robustness_c', 'test_robustness.py',
        ('{config}', '{checkpoint}', '--work-dirs', '{work_dir}', '--benchmark', 'imagenet-c', '--corruptions', 'fog',
         '--severities', '1', '--out', '{work_dir}/robustness.png', '--cfg-options', 'resume=False'),
        keep='robustness/*.json', of=('resnet18_gcp_m_lr-adju', ))])
'''
GCP = 'shapes/resnet18_gcp_m_lr-adju'


@pytest.fixture(scope='module')
def plan(workplace):
    """The plan, carried out; what the tool printed."""
    path = workplace.folder / 'shapes.py'
    path.write_text(PLAN)
    return path, workplace.run('run_experiments.py', path, '--at-once', '2')


def read(path: Path):
    """Settings and records of a file of results, without what differs from run to run."""
    settings, *records = map(json.loads, path.read_text().splitlines())
    return settings['settings'], [{key: value for key, value in record.items()
                                   if 'time' not in key and key not in ('seconds', 'memory')} for record in records]


def test_plan_is_carried_out(workplace, plan):
    _, printed = plan
    assert 'shapes: 3 runs, 0 of them done, 3 to do' in printed and '[3/3]' in printed
    results = workplace.folder / 'results'
    settings, records = read(results / GCP / 'seed_0.jsonl')
    assert [record['step'] for record in records if 'accuracy/top1' in record] == [1, 2]
    assert settings['identity']['config'] == 'quickstart/resnet18_gcp_m_shapes.py' and settings['seed'] == 0
    assert {'torch', 'mmengine', 'hardware', 'threads'} <= set(settings['environment'])
    assert settings['command'].startswith('python tools/train.py configs/')  # wherever it ran
    assert '--work-dir work_dirs/shapes/' in settings['command']
    assert [record['iter'] for record in read(results / GCP / 'seed_0_landscape_stem.jsonl')[1]] == [0, 4, 8]
    assert [record['iter'] for record in read(results / GCP / 'seed_0_landscape_weights.jsonl')[1]] == [0, 6]
    assert [record['set'] for record in read(results / GCP / 'seed_0_robustness_c.jsonl')[1]] == ['clean', 'fog/1']
    assert re.search(r'\| resnet18_gcp_m_lr-adju +\| +1 \| +\d+\.\d{3} \|', printed)


def test_a_plan_writes_no_page_and_into_its_own_folders_alone(workplace, plan):
    def pages():
        return {path: path.read_bytes() for pattern in ('*.md', 'docs/**/*.*', 'results/**/*.csv')
                for path in ROOT.glob(pattern) if path.is_file()}

    before, files = pages(), set(workplace.folder.rglob('*'))
    workplace.run('run_experiments.py', plan[0])
    assert pages() == before and set(workplace.folder.rglob('*')) == files
    assert not (workplace.folder / 'docs').exists()
    assert {path.suffix for path in (workplace.folder / 'results/shapes').rglob('*.*')} == {'.jsonl'}


def test_what_is_done_is_not_done_again(workplace, plan):
    printed = workplace.run('run_experiments.py', plan[0])
    assert '3 of them done, 0 to do' in printed and 'seed 0' not in printed and '| resnet18_gap_lr-norm ' in printed


def test_a_repeated_run_and_one_that_was_cut_off_are_the_same(workplace, plan):
    """Bit for bit, with as many threads."""
    result = workplace.folder / 'results' / GCP / 'seed_0.jsonl'
    landscape = result.with_name('seed_0_landscape_stem.jsonl')
    expected = read(result)[1], read(landscape)[1]
    work_dir = workplace.folder / 'work_dirs' / GCP / 'seed_0'
    (work_dir / 'epoch_2.pth').unlink()
    (work_dir / 'last_checkpoint').write_text(str(work_dir / 'epoch_1.pth'))
    result.unlink()
    printed = workplace.run('run_experiments.py', plan[0], '--only', 'resnet18_gcp_m_*', '--at-once', '2')
    assert 'resnet18_gcp_m_lr-adju seed 0 (resumed)' in printed
    assert (read(result)[1], read(landscape)[1]) == expected
    printed = workplace.run('run_experiments.py', plan[0], '--only', 'resnet18_gcp_m_lr-adju', '--again', '--at-once',
                           '2')
    assert '(resumed)' not in printed
    assert (read(result)[1], read(landscape)[1]) == expected


def test_bad_input_is_told_in_a_sentence(workplace, plan):
    printed = workplace.run('run_experiments.py', plan[0], '--only', 'resnet', fails=True)
    assert "Stopped: no training or measurement of the plan is called 'resnet'" in printed
    assert 'Traceback' not in printed


def test_again_deletes_the_results_before_the_runs_start(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('shapes.py').write_text(PLAN)
    job, other, _ = jobs_of(read_plan('shapes.py'))
    for path in (job.result, other.result):
        write_records(Path('results', path), {}, [{'step': 1, 'accuracy/top1': 50.}])
    left = []
    monkeypatch.setattr(driver, 'run', lambda jobs, results, *_, **__: left.extend(results.rglob('*.jsonl')))
    monkeypatch.setattr(signal, 'signal', lambda *_: None)  # which would stay
    monkeypatch.setattr(sys, 'path', [*sys.path])
    monkeypatch.setattr(sys, 'argv', ['run_experiments.py', 'shapes.py', '--again', '--only', job.training.name])
    runpy.run_path(str(ROOT / 'tools/run_experiments.py'), run_name='__main__')
    assert left == [Path('results', other.result)]
