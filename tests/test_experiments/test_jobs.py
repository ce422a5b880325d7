import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mmgcp.experiments import Training
from mmgcp.experiments.jobs import choose, jobs_of
from mmgcp.utils.errors import SetupError
from mmgcp.utils.records import read_records

from .conftest import small_plan, write


def by_name(plan):
    return {str(job): job for job in jobs_of(plan)}


def test_every_training_comes_with_every_seed_and_before_what_measures_it(plan):
    names = [str(job) for job in jobs_of(plan)]
    assert names == [
        'resnet18_gap_lr-norm seed 0', 'resnet18_gap_lr-adju seed 0', 'resnet18_gcp_m_lr-adju seed 0',
        'resnet18_gcp_m_lr-adju_64-px seed 0', 'mask_rcnn_r18_gap seed 0',
        'resnet18_gap_lr-norm seed 1', 'resnet18_gap_lr-adju seed 1', 'resnet18_gcp_m_lr-adju seed 1',
        'mask_rcnn_r18_gap seed 1',
        *(f'robustness_c resnet18_{pooling}_lr-adju seed {seed}' for pooling in ('gap', 'gcp_m') for seed in (0, 1))]


def test_a_measurement_may_have_seeds_of_its_own(plan):
    jobs = jobs_of(small_plan(measurements=[replace(plan.measurements[0], seeds=(1, ))]))
    assert [job.seed for job in jobs if job.measurement] == [1, 1]


def test_options_of_a_training_stand_over_those_of_the_plan(plan):
    jobs = by_name(plan)
    assert jobs['resnet18_gap_lr-norm seed 1'].options == {'train_cfg.max_epochs': 4, 'randomness.seed': 1}
    assert jobs['resnet18_gap_lr-adju seed 1'].options == {'train_cfg.max_epochs': 2, 'randomness.seed': 1}
    assert jobs['mask_rcnn_r18_gap seed 1'].options == {
        'randomness.seed': 1,
        'model.backbone.init_cfg.checkpoint': 'workdir://small/resnet18_gap_lr-adju/seed_1'}


def test_what_a_job_waits_for(plan):
    jobs = by_name(plan)
    assert jobs['resnet18_gap_lr-norm seed 0'].needs is None
    assert str(jobs['mask_rcnn_r18_gap seed 1'].needs) == 'resnet18_gap_lr-adju seed 1'
    assert str(jobs['robustness_c resnet18_gap_lr-adju seed 1'].needs) == 'resnet18_gap_lr-adju seed 1'


def test_commands_are_those_of_the_tools(plan, tmp_path, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    jobs = by_name(small_plan(options={'a.b': [1, [2.5, 3]], 'c': None, 'd': True}))
    assert jobs['resnet18_gap_lr-norm seed 1'].command() == [
        sys.executable, 'tools/train.py', 'configs/imagenette/resnet18_gap_imagenette.py', '--work-dir',
        'work_dirs/small/resnet18_gap_lr-norm/seed_1', '--resume', '--cfg-options', 'a.b=[1,[2.5,3]]', 'c=None',
        'd=True', 'randomness.seed=1']


def test_a_checkpoint_counts_when_it_is_that_of_the_last_epoch(plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = by_name(plan)['resnet18_gap_lr-adju seed 0']
    assert job.checkpoint() is None and not job.is_begun()
    job.work_dir.mkdir(parents=True)
    for epoch, is_last in ((1, False), (2, True)):
        (job.work_dir / 'last_checkpoint').write_text(str(job.work_dir / f'epoch_{epoch}.pth'))
        assert job.is_begun() and (job.checkpoint() is not None) == is_last
    measuring = by_name(plan)['robustness_c resnet18_gap_lr-adju seed 0']
    assert measuring.command()[2:] == ['work_dirs/small/resnet18_gap_lr-adju/seed_0/resnet18_gap_imagenette.py',
                                       'work_dirs/small/resnet18_gap_lr-adju/seed_0/epoch_2.pth', '--amp']


def test_a_training_that_a_hook_stopped_has_ended(plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = by_name(plan)['resnet18_gap_lr-norm seed 0']
    job.work_dir.mkdir(parents=True)
    (job.work_dir / 'last_checkpoint').write_text('epoch_1.pth')
    assert job.checkpoint() is None
    job.note()
    assert job.checkpoint() is None
    job.note(ended=True)
    assert job.checkpoint() == str(job.work_dir / 'epoch_1.pth')
    longer = by_name(small_plan(options={'train_cfg.max_epochs': 5}))['resnet18_gap_lr-norm seed 0']
    assert longer.checkpoint() is None
    with pytest.raises(SetupError, match='seed_0 holds a training with other settings: repeat it .* with --again'):
        longer.check()  # which would resume it, and keep its old epochs under the new settings
    job.check()


def test_a_training_by_iterations_ends_at_its_last_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = by_name(small_plan(options={'train_cfg.max_iters': 30}))['resnet18_gap_lr-norm seed 0']
    job.work_dir.mkdir(parents=True)
    for name, is_last in (('iter_20.pth', False), ('iter_30.pth', True)):
        (job.work_dir / 'last_checkpoint').write_text(name)
        assert (job.checkpoint() is not None) == is_last


def test_a_measurement_of_another_checkpoint_does_not_count(plan, results, tmp_path, monkeypatch):
    """As after run_experiments.py --again of the training alone."""
    monkeypatch.chdir(tmp_path)
    job = by_name(plan)['robustness_c resnet18_gap_lr-adju seed 0']
    job.work_dir.mkdir(parents=True)
    checkpoint = job.work_dir / 'epoch_2.pth'
    checkpoint.write_bytes(b'first')
    (job.work_dir / 'last_checkpoint').write_text(str(checkpoint))
    made = read_records(results / job.result)
    write(results / job.result, {**made.settings, 'inputs': job.inputs()}, made.records)
    assert job.is_done(results)
    checkpoint.write_bytes(b'second')
    assert not job.is_done(results)
    checkpoint.unlink()
    assert job.is_done(results)  # nothing to compare with


def test_a_measurement_begun_with_other_settings_starts_anew(plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    begun = by_name(plan)['robustness_c resnet18_gap_lr-adju seed 0']
    file = begun.work_dir / 'robustness/x.json'
    write(file, {}, [])
    begun.note()
    begun.check()
    assert file.is_file()
    replace(begun, measurement=replace(begun.measurement, arguments=())).check()
    assert not file.exists()


def test_a_result_of_another_config_does_not_count(plan, results):
    job = by_name(plan)['resnet18_gap_lr-norm seed 0']
    made = read_records(results / job.result)
    for crc, done in ((job.inputs()['config'], True), (1, False)):
        write(results / job.result, {**made.settings, 'inputs': dict(config=crc)}, made.records)
        assert job.is_done(results) == done


@pytest.mark.parametrize('text, reason', [
    ('train_cfg = dict(', 'SyntaxError'), ("_base_ = 'nope.py'", 'nope.py'), ('a = b', "NameError: name 'b'"),
    ('train_cfg = 1 / 0', 'ZeroDivisionError')])
def test_a_config_that_cannot_be_read(text, reason, tmp_path):
    config = tmp_path / 'mine.py'
    config.write_text(text)
    job, = jobs_of(small_plan(trainings=[Training('a', str(config))], measurements=[], seeds=(0, )))
    with pytest.raises(SetupError, match=rf'the config .*mine\.py.* cannot be read: (?s:.*){reason}'):
        job.inputs()


def test_a_result_counts_when_it_was_made_with_the_same_settings(plan, results):
    assert all(job.is_done(results) for job in jobs_of(plan))
    changed = by_name(small_plan(options={'train_cfg.max_epochs': 5}))
    assert not changed['resnet18_gap_lr-norm seed 0'].is_done(results)
    assert changed['resnet18_gap_lr-adju seed 0'].is_done(results)  # which has its own number of epochs
    assert not changed['resnet18_gap_lr-norm seed 0'].is_done(results / 'elsewhere')


def test_identity_is_what_json_gives_back(plan):
    for job in jobs_of(small_plan(options={'a': (1, 2)})):
        assert json.loads(json.dumps(job.identity())) == job.identity()


def test_choice_by_name_and_seed(plan):
    jobs = jobs_of(plan)
    assert [str(job) for job in choose(jobs, ['resnet18_gap_*'], [1])] == [
        'resnet18_gap_lr-norm seed 1', 'resnet18_gap_lr-adju seed 1', 'robustness_c resnet18_gap_lr-adju seed 1']
    assert len(choose(jobs, ['robustness_c'], [])) == 4
    assert choose(jobs, [], []) == jobs
    with pytest.raises(SetupError, match="called 'resnet': there are resnet18_gap_lr-norm, "):
        choose(jobs, ['resnet'], [])
    with pytest.raises(SetupError, match='no job of the plan has seed 7'):
        choose(jobs, [], [7])
    with pytest.raises(SetupError, match='nothing that is called resnet18_gcp_m_lr-adju_64-px has seed 1'):
        choose(jobs, ['resnet18_gcp_m_lr-adju_64-px'], [1])


def test_a_job_that_is_done_again_starts_anew(plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    jobs = by_name(plan)
    training, measuring = jobs['resnet18_gap_lr-adju seed 0'], jobs['robustness_c resnet18_gap_lr-adju seed 0']
    training.clear()  # nothing is there yet
    (training.work_dir / 'robustness').mkdir(parents=True)
    for name in ('epoch_2.pth', 'robustness/x.json'):
        (training.work_dir / name).touch()
    measuring.clear()
    assert [path.name for path in training.work_dir.rglob('*.*')] == ['epoch_2.pth']
    training.clear()
    assert not training.work_dir.exists()


def test_a_job_to_be_repeated_counts_as_unfinished(plan, results, tmp_path, monkeypatch):
    """Until it has ended: else a repetition that was interrupted would leave the earlier result as its own."""
    monkeypatch.chdir(tmp_path)
    jobs = by_name(plan)
    training, measuring = jobs['resnet18_gap_lr-adju seed 1'], jobs['robustness_c resnet18_gap_lr-adju seed 1']
    for job in (training, measuring):
        write(results / job.landscape('stem'), {}, [])
    other = results / jobs['resnet18_gap_lr-adju seed 0'].landscape('stem')
    write(other, {}, [])
    training.work_dir.mkdir(parents=True)
    training.forget(results)
    training.forget(results)  # nothing is left
    assert not (results / training.result).exists() and not (results / training.landscape('stem')).exists()
    assert not training.work_dir.exists()
    assert other.is_file() and measuring.is_done(results)
    measuring.forget(results)
    assert not (results / measuring.result).exists()
