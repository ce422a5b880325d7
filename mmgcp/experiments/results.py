"""Files of results: what a job logged or measured, below a line that tells how, where and with what it was made."""
import shlex
from pathlib import Path

from mmgcp.utils.errors import SetupError
from mmgcp.utils.logs import read_run
from mmgcp.utils.records import append_record, open_records, read_records

from .environment import environment
from .jobs import Job


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
    command = ['python', *job.command(root=Path())[1:]]  # the same wherever it ran
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
