"""The driver with jobs that are small scripts, or that only seem to run."""
import signal
import sys
from pathlib import Path

import pytest

from mmgcp.experiments import driver
from mmgcp.experiments.driver import run, threads_per_job, with_needed


class Script:
    """Stands for a job: writes how many threads it has, and may fail."""
    measurement = None

    def __init__(self, name, needs=None, fails=False, has_checkpoint=False, done=False):
        self.name, self.needs, self.fails, self.has_checkpoint, self.done = name, needs, fails, has_checkpoint, done

    def __str__(self):
        return self.name

    @property
    def work_dir(self):
        return Path('work', self.name)

    def checkpoint(self):
        return 'file' if self.has_checkpoint else None

    def is_done(self, results):
        return self.done

    def check(self):
        pass

    note = check

    def command(self):
        text = f'''
import os
open('work/{self.name}/threads', 'w').write(os.environ['OMP_NUM_THREADS'])
if {self.fails}:
    print('something')
    raise SystemExit('Stopped: it is broken.')
'''
        return [sys.executable, '-c', text]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kept = []
    monkeypatch.setattr(driver, 'keep', lambda job, *_: kept.append(job.name) or 'kept')
    monkeypatch.setattr(driver, 'POLL', 0.01)
    return kept


@pytest.fixture
def under_way(monkeypatch):
    """Lets processes only seem to run, for three looks at them; lists those under way at each start."""
    running, seen = [], []

    class Process:
        returncode = 0

        def __init__(self, command, **_):
            self.looks = 0
            running.append(self)
            seen.append(len(running))

        def poll(self):
            self.looks += 1
            if self.looks == 3:
                running.remove(self)
                return 0

    monkeypatch.setattr(driver.subprocess, 'Popen', Process)
    monkeypatch.setattr(driver, 'environment', lambda threads: {})  # which calls git
    return seen


def test_one_after_another(here, under_way):
    jobs = [Script('a'), Script('b'), Script('c')]
    assert run(jobs, Path('results'), at_once=1, say=str) == []
    assert here == ['a', 'b', 'c'] and under_way == [1, 1, 1]


def test_several_at_once_but_never_before_what_they_need(here, under_way):
    first = Script('first')
    jobs = [first, Script('second', needs=first), Script('third')]
    started = []
    run(jobs, Path('results'), at_once=3, say=started.append)
    assert [line for line in started if 'started' in line] == [
        f'{name}: started, work/{name}/training.log' for name in ('first', 'third', 'second')]
    assert here == ['first', 'third', 'second'] and under_way == [1, 2, 1]


def test_a_failure_takes_along_what_needs_it_alone(here):
    lines = []
    broken = Script('broken', fails=True)
    jobs = [broken, Script('needs-broken', needs=broken), Script('sound')]
    failed = run(jobs, Path('results'), say=lines.append)
    assert [job.name for job in failed] == ['broken', 'needs-broken'] and here == ['sound']
    assert any('broken: failed: it is broken. (work/broken/training.log)' in line for line in lines)
    assert 'needs-broken: left out, because broken failed' in lines
    assert 'something' in Path('work/broken/training.log').read_text()


@pytest.mark.parametrize('where', ['command', 'keep'])
def test_an_unforeseen_error_fails_its_job_alone(here, monkeypatch, where):
    lines, broken, keep = [], Script('broken'), driver.keep

    def fail(job=broken, *arguments):
        return keep(job, *arguments) if job is not broken else {}['oops']

    if where == 'command':
        broken.command = fail
    else:
        monkeypatch.setattr(driver, 'keep', fail)
    assert run([broken, Script('sound')], Path('results'), at_once=2, say=lines.append) == [broken]
    assert here == ['sound'] and any("broken: failed: KeyError: 'oops'" in line for line in lines)


@pytest.mark.parametrize('visible, used', [('5,7', ['5', '7']), (None, ['0', '1'])])
def test_jobs_take_the_gpus_that_are_visible_in_turn(visible, used, monkeypatch, under_way):
    monkeypatch.setattr(driver.torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(driver.torch.cuda, 'device_count', lambda: 2)
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    if visible:
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)
    given, process = [], driver.subprocess.Popen

    def start(command, env, **settings):
        given.append(env['CUDA_VISIBLE_DEVICES'])
        return process(command, env=env, **settings)

    monkeypatch.setattr(driver.subprocess, 'Popen', start)
    run([Script('a'), Script('b')], Path('results'), at_once=2, say=str)
    assert given == used


def test_cores_are_shared(here, monkeypatch):
    monkeypatch.setattr(driver.os, 'sched_getaffinity', lambda _: range(8))
    run([Script('a')], Path('results'), at_once=2, say=str)
    assert Path('work/a/threads').read_text() == '4'
    assert threads_per_job(1000) == 1


def test_processes_end_with_the_driver(here, monkeypatch):
    started = []
    monkeypatch.setattr(driver, 'keep', lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    monkeypatch.setattr(driver, '_start', lambda *arguments, start=driver._start: started.append(start(*arguments))
                        or started[-1])
    slow = Script('slow')
    slow.command = lambda: [sys.executable, '-c', 'import signal; signal.pause()']
    with pytest.raises(KeyboardInterrupt):
        run([slow, Script('quick')], Path('results'), at_once=2, say=str)
    assert started[0].process.wait(timeout=60) == -signal.SIGTERM


def test_what_is_left_to_do():
    trained, missing = Script('trained', has_checkpoint=True, done=True), Script('missing', done=True)
    jobs = [trained, missing, Script('a', needs=trained), Script('b', needs=missing), Script('c', done=True)]
    assert [job.name for job in with_needed(jobs, Path('results'))] == ['a', 'missing', 'b']
    assert [job.name for job in with_needed(jobs, Path('results'), again=True)] == ['trained', 'missing', 'a', 'b', 'c']
