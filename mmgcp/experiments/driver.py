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

from .jobs import Job
from .results import keep

POLL = 0.5  # seconds between two looks at the processes


@dataclass
class _Process:
    """A job under way."""
    job: Job
    slot: int
    process: subprocess.Popen
    start: float


def with_needed(jobs: list[Job], results: Path, again: bool = False) -> list[Job]:
    """Jobs that are left to do, and before them the trainings whose checkpoints they need and which are not there.

    Args:
        jobs (list[Job]): Jobs that are wanted.
        results (Path): Folder of results.
        again (bool): Do again what is done.
    """
    todo = []

    def add(job):
        if job in todo:
            return
        if job.needs and not job.needs.checkpoint():
            add(job.needs)
        todo.append(job)

    for job in jobs:
        if again or not job.is_done(results):
            add(job)
    return todo


def run(jobs: list[Job], results: Path, at_once: int = 1, say: Callable[[str], None] = print) -> list[Job]:
    """Carry out jobs; one that waits for another's checkpoint starts when it is there.

    The output of a job goes to ``<work_dir>/<training or measurement>.log``. GPUs are given out in turn; on the CPU
    the jobs share the cores.

    Args:
        jobs (list[Job]): What to do, as from :func:`with_needed`.
        results (Path): Folder of results.
        at_once (int): Jobs at a time.
        say (Callable[[str], None]): Takes a line of progress.

    Returns:
        list[Job]: Those that failed, or whose training did; the others are done.
    """
    waiting, running, failed = list(jobs), [], []
    begin, ended = time.monotonic(), 0
    try:
        while waiting or running:
            for job in [job for job in waiting if job.needs in failed]:
                waiting.remove(job)
                failed.append(job)
                say(f'{job}: left out, because {job.needs} failed')
            under_way = [process.job for process in running]
            ready = [job for job in waiting if job.needs not in waiting and job.needs not in under_way]
            for job in ready[:at_once - len(running)]:
                waiting.remove(job)
                slot = min(set(range(at_once)) - {process.slot for process in running})
                running.append(_start(job, slot, at_once))
                say(f'{job}: started, {_log(job)}')
            time.sleep(POLL)
            for process in [process for process in running if process.process.poll() is not None]:
                running.remove(process)
                ended += 1
                seconds = time.monotonic() - process.start
                left = timedelta(seconds=round((time.monotonic() - begin) / ended * (len(jobs) - ended)))
                try:
                    summary = _finish(process, results, seconds, at_once)
                except (SetupError, ValueError) as error:
                    failed.append(process.job)
                    summary = f'failed: {error}'
                took = timedelta(seconds=round(seconds))
                say(f'[{ended}/{len(jobs)}] {process.job}: {summary} ({took}; about {left} left)')
    finally:
        for process in running:
            process.process.terminate()
    return failed


def threads_per_job(at_once: int) -> int:
    """CPU threads of each of several jobs at a time."""
    return max(1, len(os.sched_getaffinity(0)) // at_once)


def _start(job, slot, at_once):
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads_per_job(at_once)), PYTHONUNBUFFERED='1')
    if torch.cuda.is_available():
        environment['CUDA_VISIBLE_DEVICES'] = str(slot % torch.cuda.device_count())
    job.work_dir.mkdir(parents=True, exist_ok=True)
    with _log(job).open('w') as log:
        process = subprocess.Popen(job.command(), env=environment, stdout=log, stderr=subprocess.STDOUT)
    return _Process(job, slot, process, time.monotonic())


def _finish(process, results, seconds, at_once):
    """Record the result of a job that has ended; what to say of it."""
    job = process.job
    if process.process.returncode:
        lines = _log(job).read_text(errors='replace').strip().splitlines()
        raise SetupError(f'{lines[-1].removeprefix("Stopped: ") if lines else "no output"} ({_log(job)})')
    return keep(job, results, seconds, threads_per_job(at_once))


def _log(job):
    return job.work_dir / f"{job.measurement.name if job.measurement else 'training'}.log"
