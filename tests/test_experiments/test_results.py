import json
import os

import pytest

from mmgcp.experiments.jobs import jobs_of
from mmgcp.experiments.results import as_run, keep, last_validations, mean_and_spread, read_logs
from mmgcp.utils.errors import SetupError
from mmgcp.utils.logs import Run
from mmgcp.utils.records import read_records

from .conftest import write


@pytest.fixture
def job(plan, tmp_path, monkeypatch):
    """The first training of the plan, with the log of its only epoch."""
    monkeypatch.chdir(tmp_path)
    job = jobs_of(plan)[0]
    log(job, {'step': 1, 'accuracy/top1': 50.})
    return job


def log(job, validation):
    path = job.work_dir / '20250101_000000/vis_data/scalars.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{json.dumps(dict(epoch=1, iter=5, loss=1., lr=0.1))}\n{json.dumps(validation)}\n')


def measure(job, day, step_sizes, iters):
    """Write a landscape that a start of the training left, whose losses are the day of the start."""
    values = [float(day)] * len(step_sizes)
    write(job.work_dir / f'202501{day:02}_000000/landscape/stem.json',
          dict(at='stem', layer='conv1', direction='ascent', step_sizes=step_sizes, images=64),
          [dict(iter=i, loss=1., gradient_norm=1., losses=values, distances=values, smoothness=values, seconds=1.)
           for i in iters])


def test_the_result_of_a_training_is_its_log_and_its_landscapes(job, results):
    measure(job, 1, [1., 2.], [0, 10, 20])
    measure(job, 2, [1., 2.], [10, 30])  # resumed
    assert keep(job, results, 3, {}) == 'accuracy/top1 50'
    assert read_records(results / job.result).records[1] == {'step': 1, 'accuracy/top1': 50.}
    kept = read_records(results / job.landscape('stem'))
    assert [(record['iter'], record['losses'][0]) for record in kept.records] == [(0, 1.), (10, 2.), (30, 2.)]
    assert kept.settings['measured']['step_sizes'] == [1., 2.]


def test_landscapes_of_different_steps_are_not_kept_as_one(job, tmp_path):
    measure(job, 1, [1., 2.], [0, 10])
    measure(job, 2, [1., 4.], [20])
    with pytest.raises(ValueError, match=r'different step_sizes \(2 from 1 to 2 and 2 from 1 to 4\)'):
        keep(job, tmp_path / 'new', 3, {})
    assert not (tmp_path / 'new').exists()  # so that the training is not done


def test_a_training_that_measured_nothing_is_not_kept(job, tmp_path):
    log(job, {'step': 1, 'time': 0.1, 'data_time': 0.1})
    with pytest.raises(SetupError, match='no validation in .*/seed_0 measured anything: set val_evaluator in configs/'):
        keep(job, tmp_path / 'new', 3, {})
    assert not (tmp_path / 'new').exists()


def test_the_result_of_a_measurement_is_the_file_that_it_wrote(plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = next(job for job in jobs_of(plan) if job.measurement)
    first, second = (job.work_dir / f'robustness/{name}.json' for name in ('epoch_1', 'epoch_2'))
    write(first, {}, [dict(set='fog'), dict(set='snow')])
    os.utime(first, (0, 0))
    assert keep(job, tmp_path / 'results', 60, {}) == '2 records'  # which were measured before
    write(second, {}, [dict(set='clean'), dict(set='fog'), dict(set='snow')])
    assert keep(job, tmp_path / 'results', 60, {}) == '3 records'
    assert len(read_records(tmp_path / 'results' / job.result).records) == 3
    os.utime(first)
    with pytest.raises(SetupError, match=r"2 files in .* are called 'robustness/\*.json', where one was to be"):
        keep(job, tmp_path / 'results', 60, {})


def test_a_log_made_with_other_settings_is_left_out(plan, results):
    path = results / 'small/resnet18_gap_lr-adju/seed_1.jsonl'
    made = read_records(path)
    made.settings['identity']['options']['train_cfg.max_epochs'] = 3
    write(path, made.settings, made.records)
    with pytest.warns(UserWarning, match='seed_1.jsonl was made with other settings than those of the plan'):
        assert list(read_logs(plan, results)['resnet18_gap_lr-adju']) == [0]


def test_logs_are_read_by_training_and_seed(plan, results):
    (results / 'small/resnet18_gap_lr-adju/seed_1.jsonl').unlink()
    logs = read_logs(plan, results)
    assert {name: list(by_seed) for name, by_seed in logs.items()} == {
        'resnet18_gap_lr-norm': [0, 1], 'resnet18_gap_lr-adju': [0], 'resnet18_gcp_m_lr-adju': [0, 1],
        'resnet18_gcp_m_lr-adju_64-px': [0], 'mask_rcnn_r18_gap': [0, 1]}
    assert read_logs(plan, results / 'elsewhere') == {}


def test_table_of_last_validations(plan, results):
    runs = {name: {seed: as_run(log, name) for seed, log in logs.items()}
            for name, logs in read_logs(plan, results).items()}
    (header, rows), detectors = last_validations(runs)
    assert header == ['training', 'seeds', 'accuracy/top1', 'accuracy/top5']
    assert rows[0] == ['resnet18_gap_lr-norm', '2', '70.500 ± 0.707', '95.000 ± 0.000']
    assert rows[3] == ['resnet18_gcp_m_lr-adju_64-px', '1', '71.000', '95.000']
    assert detectors == (['training', 'seeds', 'coco/bbox_mAP', 'coco/segm_mAP'],
                         [['mask_rcnn_r18_gap', '2', '0.200 ± 0.000', '0.190 ± 0.000']])


def test_a_metric_that_a_seed_lacks_is_that_of_the_others():
    metrics = ({'a': 1., 'b': 3.}, {'a': 2.}, {'a': 3., 'b': 5.})
    for order in (metrics, metrics[1:] + metrics[:1]):
        runs = {seed: Run('x', 'epoch', (), ({'step': 1, **values}, )) for seed, values in enumerate(order)}
        assert last_validations({'x': runs}) == [
            (['training', 'seeds', 'a', 'b'], [['x', '3', '2.000 ± 1.000', '4.000 ± 1.414 (2 seeds)']])]


def test_mean_and_spread():
    assert [mean_and_spread(values) for values in ([1.], [1., 2.])] == ['1.0', '1.5 ± 0.7']
    assert [mean_and_spread([1., value]) for value in (float('nan'), float('inf'))] == ['nan ± nan', 'inf ± nan']
