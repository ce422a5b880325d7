"""Write and read result files: what a job logged or measured, after a line that records how."""
import shlex
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmgcp.analysis.figure_2 import landscape_records
from mmgcp.utils.errors import SetupError
from mmgcp.utils.logs import Run, read_run
from mmgcp.utils.records import Records, read_records, write_records

from .jobs import Job, jobs_of
from .plan import Plan


def keep(job: Job, results: Path, seconds: float, made_on: dict) -> str:
    """Write the result of a finished job, in place of an earlier one, to the folder of results; return a short summary.

    A training's result is its log, a line per record; ``LandscapeHook``'s measurements go to one file per place. After
    an error nothing is written.

    Raises:
        SetupError: If the measurement left no file, or several, or no validation of the training has a metric.
        ValueError: If its files cannot be read, or landscapes at one place were measured with different settings.
    """
    command = ['python', *job.command(root=Path())[1:]]  # the same wherever it ran
    settings = dict(identity=job.identity(), inputs=job.inputs(), seed=job.seed, command=shlex.join(command),
                    seconds=round(seconds, 1), environment=made_on)
    if job.measurement:
        files = sorted(job.work_dir.glob(job.measurement.keep))
        # Earlier files are of other checkpoints; none is newer where all had been measured before.
        files = [file for file in files if file.stat().st_mtime > time.time() - seconds - 1] or files
        if len(files) != 1:
            raise SetupError(f"{len(files)} files in {job.work_dir} are called '{job.measurement.keep}', where one was "
                             'to be measured')
        measured = read_records(files[0])
        write_records(results / job.result, {**settings, 'measured': measured.settings}, measured.records)
        return f'{len(measured.records)} records'
    job.note(ended=True)
    run = read_run(job.work_dir)
    if not run.metrics:
        raise SetupError(f'no validation in {job.work_dir} measured anything: set val_evaluator in configs/'
                         f'{job.training.config}')
    places = sorted({path.stem for path in job.work_dir.glob('*/landscape/*.json')})
    landscapes = {at: landscape_records(job.work_dir, at) for at in places}
    write_records(results / job.result, {**settings, 'unit': run.unit}, [*run.train, *run.val])
    for at, measured in landscapes.items():
        write_records(results / job.landscape(at), {**settings, 'measured': measured.settings}, measured.records)
    name = next((metric for metric in ('accuracy/top1', 'coco/bbox_mAP') if metric in run.metrics), run.metrics[0])
    return f'{name} {run.final(name):.4g}'


def read_result(job: Job, path: Path) -> Records | None:
    """Read a job's file of results; None if there is none or, with a warning, it was made with other settings."""
    if not path.is_file():
        return None
    found = read_records(path)
    if 'identity' in found.settings and not job.is_of(found.settings):
        warnings.warn(f'{path} was made with other settings than those of the plan, and is left out', stacklevel=2)
        return None
    return found


def read_logs(plan: Plan, results: Path) -> dict[str, dict[int, Records]]:
    """Read the logs of the trainings of a plan that have any, by training and seed, in the order of the plan."""
    logs = {training.name: {} for training in plan.trainings}
    for job in jobs_of(plan):
        found = None if job.measurement else read_result(job, results / job.result)
        if found:
            logs[job.training.name][job.seed] = found
    return {name: by_seed for name, by_seed in logs.items() if by_seed}


def as_run(log: Records, name: str) -> Run:
    """Convert the log of a training to a :class:`~mmgcp.utils.logs.Run`."""
    train = tuple(record for record in log.records if 'iter' in record)
    val = tuple(record for record in log.records if 'iter' not in record)
    return Run(name, log.settings.get('unit', 'epoch'), train, val)


def mean_and_spread(values: Sequence[float], digits: int = 1) -> str:
    """Format the mean and, of several values, the standard deviation."""
    with np.errstate(invalid='ignore'):  # of infinite values, whose spread is NaN
        spread = f' ± {np.std(values, ddof=1):.{digits}f}' if len(values) > 1 else ''
        return f'{np.mean(values):.{digits}f}{spread}'


def last_validations(runs: Mapping[str, Mapping[int, Run]]) -> list[tuple[list[str], list[list[str]]]]:
    """Tabulate the last validation of trainings, by name and seed: mean and standard deviation over the seeds.

    There is a table per set of metrics (classifiers and detectors): names of the columns, and a row per training. Where
    seeds lack a metric, the number of those that have it follows.
    """
    tables = {}
    for name, by_seed in runs.items():
        metrics = sorted({metric for run in by_seed.values() for metric in run.metrics})
        _, rows = tables.setdefault(tuple(metrics), (['training', 'seeds', *metrics], []))
        rows.append([name, str(len(by_seed)), *(_final(metric, by_seed) for metric in metrics)])
    return list(tables.values())


def _final(metric, by_seed):
    values = [run.final(metric) for run in by_seed.values() if metric in run.metrics]
    return mean_and_spread(values, 3) + (f' ({len(values)} seeds)' if len(values) < len(by_seed) else '')
