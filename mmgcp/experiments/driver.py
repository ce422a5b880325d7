"""Run jobs as subprocesses, several at a time, and record their results."""
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch

from mmgcp.utils.errors import SetupError

from .environment import environment
from .jobs import Job
from .results import keep

POLL = 0.5  # seconds between checks of the processes


@dataclass
class _Running:
    job: Job
    slot: int
    process: subprocess.Popen
    start: float
    environment: dict  # machine, versions and commit as it starts


def with_needed(jobs: list[Job], results: Path, again: bool = False) -> list[Job]:
    """List the jobs without a result, or with ``again`` all, each after the unfinished job that it needs."""
    todo = []

    def add(job):
        if job not in todo:
            if job.needs and not job.needs.checkpoint():
                add(job.needs)
            todo.append(job)

    for job in jobs:
        if again or not job.is_done(results):
            add(job)
    return todo


def run(jobs: list[Job], results: Path, at_once: int = 1, say: Callable[[str], None] = print) -> list[Job]:
    """Run jobs from :func:`with_needed`, ``at_once`` at a time, and record their results in a folder.

    A job starts as soon as the training that it needs has ended. Jobs take GPUs in turn, or share the CPU's cores. The
    output of a job goes to ``<work_dir>/<training or measurement>.log``, lines of progress to ``say``. A failed job
    does not stop the others, except those that need it. Returned are the jobs that failed or need a failed one.
    """
    waiting, running, failed = list(jobs), [], []
    begin, ended = time.monotonic(), 0
    try:
        while waiting or running:
            for job in [job for job in waiting if job.needs in failed]:
                waiting.remove(job)
                failed.append(job)
                say(f'{job}: left out, because {job.needs} failed')
            unfinished = [*waiting, *(other.job for other in running)]
            ready = [job for job in waiting if job.needs not in unfinished]
            for job in ready[:at_once - len(running)]:
                waiting.remove(job)
                slot = min(set(range(at_once)) - {other.slot for other in running})
                try:
                    running.append(_start(job, slot, at_once))
                    say(f'{job}: started, {_log(job)}')
                except Exception as error:  # whatever it is, the others go on
                    failed.append(job)
                    say(f'{job}: failed: {_reason(error)}')
            time.sleep(POLL)
            for other in [other for other in running if other.process.poll() is not None]:
                running.remove(other)
                ended += 1
                seconds = time.monotonic() - other.start
                try:
                    summary = _finish(other, results, seconds)
                except Exception as error:
                    failed.append(other.job)
                    summary = f'failed: {_reason(error)}'
                took = timedelta(seconds=round(seconds))
                left = timedelta(seconds=round((time.monotonic() - begin) / ended * (len(jobs) - ended)))
                say(f'[{ended}/{len(jobs)}] {other.job}: {summary} ({took}; about {left} left)')
    finally:
        for other in running:
            other.process.terminate()
    return failed


def threads_per_job(at_once: int) -> int:
    """Return the number of CPU threads per job."""
    return max(1, len(os.sched_getaffinity(0)) // at_once)


def _start(job, slot, at_once):
    variables = dict(os.environ, OMP_NUM_THREADS=str(threads_per_job(at_once)), PYTHONUNBUFFERED='1')
    if torch.cuda.is_available():
        visible = os.environ.get('CUDA_VISIBLE_DEVICES')
        gpus = visible.split(',') if visible else list(map(str, range(torch.cuda.device_count())))
        variables['CUDA_VISIBLE_DEVICES'] = gpus[slot % len(gpus)]
    job.work_dir.mkdir(parents=True, exist_ok=True)
    job.check()
    job.note()
    made_on = environment(threads_per_job(at_once))
    with _log(job).open('w') as log:
        process = subprocess.Popen(job.command(), env=variables, stdout=log, stderr=subprocess.STDOUT)
    return _Running(job, slot, process, time.monotonic(), made_on)


def _finish(ended, results, seconds):
    if ended.process.returncode:
        lines = _log(ended.job).read_text(errors='replace').strip().splitlines()
        reason = lines[-1].removeprefix('Stopped: ') if lines else 'no output'
        raise SetupError(f'{reason} ({_log(ended.job)})')
    return keep(ended.job, results, seconds, ended.environment)


def _reason(error):
    return str(error) if isinstance(error, (OSError, ValueError)) else f'{type(error).__name__}: {error}'


def _log(job):
    return job.work_dir / f"{job.measurement.name if job.measurement else 'training'}.log"
