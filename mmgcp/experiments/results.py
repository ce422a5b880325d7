"""Files of results: what a job logged or measured, below a line that tells how, where and with what it was made."""
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

from mmgcp.utils.errors import SetupError
from mmgcp.utils.logs import Run, read_run
from mmgcp.utils.records import Records, append_record, open_records, read_records

from .environment import environment
from .jobs import Job, jobs_of
from .plan import Plan


def read_logs(plan: Plan, results: Path) -> dict[str, dict[int, Records]]:
    """Read the logs of a plan's trainings.

    Args:
        plan (Plan): The plan.
        results (Path): Folder of results.

    Returns:
        dict[str, dict[int, Records]]: Logs by training and seed, in the order of the plan; trainings without any are
        left out.

    Raises:
        ValueError: If a file cannot be read.
    """
    logs = {training.name: {} for training in plan.trainings}
    for job in jobs_of(plan):
        if not job.measurement and (results / job.result).is_file():
            logs[job.training.name][job.seed] = read_records(results / job.result)
    return {name: by_seed for name, by_seed in logs.items() if by_seed}


def as_run(log: Records, name: str) -> Run:
    """Log of a training from its file of results."""
    train = tuple(record for record in log.records if 'iter' in record)
    return Run(name, 'epoch', train, tuple(record for record in log.records if 'iter' not in record))


def last_validations(runs: Mapping[str, Mapping[int, Run]]) -> tuple[list[str], list[list[str]]]:
    """What trainings end with: mean and standard deviation over the seeds of the last validation.

    Args:
        runs (Mapping[str, Mapping[int, Run]]): Runs by training and seed.

    Returns:
        tuple[list[str], list[list[str]]]: Names of the columns, and the cells of a row per training.
    """
    metrics = list(dict.fromkeys(metric for by_seed in runs.values() for run in by_seed.values()
                                 for metric in run.metrics))
    rows = []
    for name, by_seed in runs.items():
        final = {metric: [float(run.curve(metric)[1][-1]) for run in by_seed.values() if metric in run.metrics]
                 for metric in metrics}
        rows.append([name, str(len(by_seed)), *(mean_and_spread(values, 3) for values in final.values())])
    return ['training', 'seeds', *metrics], rows


def mean_and_spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean, and standard deviation where there are several values; empty where there are none."""
    if not values:
        return ''
    spread = f' ± {stdev(values):.{digits}f}' if len(values) > 1 else ''
    return f'{fmean(values):.{digits}f}{spread}'


def keep(job: Job, results: Path, seconds: float, threads: int) -> str:
    """Record the result of a job that has ended, in place of an earlier one.

    A training leaves its log: a line per training record and per validation. What ``LandscapeHook`` measured on its way
    goes to a file of its own beside it.

    Args:
        job (Job): The job.
        results (Path): Folder of results.
        seconds (float): Duration.
        threads (int): CPU threads that it had.

    Returns:
        str: What came out, in a few words.

    Raises:
        SetupError: If the job left nothing to record.
        ValueError: If its files cannot be read.
    """
    command = ['python', *job.command()[1:]]
    settings = dict(identity=job.identity(), seed=job.seed, command=shlex.join(command), seconds=round(seconds, 1),
                    environment=environment(threads))
    if job.measurement:
        measured = read_records(_only(job.work_dir, job.measurement.keep))
        _write(results / job.result, {**settings, 'measured': measured.settings}, measured.records)
        return f'{len(measured.records)} records'
    run = read_run(job.work_dir)
    _write(results / job.result, settings, [*run.train, *run.val])
    landscapes = sorted(job.work_dir.glob('*/landscape/*.json'))
    if landscapes:
        measured = [read_records(path) for path in landscapes]
        merged = {record['iter']: record for part in measured for record in part.records}
        _write(results / job.landscape, {**settings, 'measured': measured[-1].settings},
               [merged[i] for i in sorted(merged)])
    name = next((metric for metric in ('accuracy/top1', 'coco/bbox_mAP') if metric in run.metrics), run.metrics[0])
    return f'{name} {run.curve(name)[1][-1]:.4g}'


def _only(folder, pattern):
    files = sorted(folder.glob(pattern))
    if len(files) != 1:
        raise SetupError(f"{len(files)} files in {folder} are called '{pattern}', where one was to be measured")
    return files[0]


def _write(path, settings, records):
    part = path.with_name(path.name + '.new')
    part.unlink(missing_ok=True)
    open_records(part, settings)
    for record in records:
        append_record(part, record)
    part.replace(path)
