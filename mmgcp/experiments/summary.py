"""What the trainings of a plan ended with, read from the files of results."""
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

from mmgcp.utils.logs import Run
from mmgcp.utils.records import Records, read_records

from .jobs import jobs_of
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


def last_validations(runs: Mapping[str, Mapping[int, Run]]) -> list[tuple[list[str], list[list[str]]]]:
    """What trainings end with: mean and standard deviation over the seeds of the last validation.

    Args:
        runs (Mapping[str, Mapping[int, Run]]): Runs by training and seed.

    Returns:
        list[tuple[list[str], list[list[str]]]]: Names of the columns, and the cells of a row per training, for the
        trainings that were validated by the same metrics, classifiers and detectors apart.
    """
    tables = {}
    for name, by_seed in runs.items():
        metrics = next(iter(by_seed.values())).metrics
        finals = ([float(run.curve(metric)[1][-1]) for run in by_seed.values()] for metric in metrics)
        _, rows = tables.setdefault(tuple(metrics), (['training', 'seeds', *metrics], []))
        rows.append([name, str(len(by_seed)), *(mean_and_spread(values, 3) for values in finals)])
    return list(tables.values())


def mean_and_spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean, and standard deviation where there are several values."""
    spread = f' ± {stdev(values):.{digits}f}' if len(values) > 1 else ''
    return f'{fmean(values):.{digits}f}{spread}'
