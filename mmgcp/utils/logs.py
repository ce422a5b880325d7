"""Read MMEngine's logs from work directories."""
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .records import read_lines, write_whole

# Entries of a validation line that are not metrics.
BOOKKEEPING = {'step', 'time', 'data_time', 'memory'}
CONTINUED = 'continued.json'  # in the folder of a start


@dataclass(frozen=True)
class Run:
    """Log of one training, merged over interruptions; lines are in chronological order."""
    name: str  # in tables and legends
    unit: str  # of the steps of val: 'epoch' or 'iteration'
    train: tuple[dict, ...] = field(repr=False)  # training lines: 'loss', 'lr', 'iter', and 'epoch' if logged
    val: tuple[dict, ...] = field(repr=False)  # validation lines: metrics, and 'step' in unit, from 1

    @property
    def metrics(self) -> list[str]:
        """Names of the validation metrics, sorted."""
        return sorted({key for record in self.val for key in record if _is_metric(record, key)})

    def curve(self, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """Collect one validation metric over the training (a curve of the paper's Figs. 1, 3 and 4).

        Metrics are 'accuracy/top1' (in %), 'coco/bbox_mAP' (from 0 to 1) and the like. Returned are steps in ``unit``,
        ascending, (n,) int64, and values, (n,) float64, which may be NaN. The last validation of a step counts.
        """
        if metric not in self.metrics:
            raise ValueError(f"Run '{self.name}' has no metric '{metric}': choose one of {', '.join(self.metrics)}.")
        points = {record['step']: record[metric] for record in self.val if _is_metric(record, metric)}
        steps = sorted(points)
        return np.array(steps, dtype=np.int64), np.array([points[step] for step in steps], dtype=np.float64)

    def final(self, metric: str) -> float:
        """Return the value of a metric at the last validation that measures it, which may be NaN."""
        return float(self.curve(metric)[1][-1])


def read_run(work_dir: str | Path, name: str | None = None) -> Run:
    """Read a work directory of MMEngine's Runner; the name of the run is that of the folder by default.

    Each start of a Runner logs into its own folder, ``<YYYYMMDD_HHMMSS>/vis_data/scalars.json``. A resumed training
    replaces what was logged after the step that it resumed from, as :func:`continued` or else its first training line
    tells, and validations from its first one on.

    Raises:
        ValueError: If there is no log, the latest training is not validated yet, or a line but the last is unreadable.
    """
    work_dir = Path(work_dir)
    # Folders are named after the time, so that sorting gives the order of the starts.
    starts = [(continued(path.parents[1]), *_split(read_lines(path)))
              for path in sorted(work_dir.glob('*/vis_data/scalars.json'))]
    if not starts:
        raise ValueError(f"'{work_dir}' holds no log of mmengine (<time>/vis_data/scalars.json): "
                         'give the work_dir of a training that has started.')
    unit = _unit(starts)
    train, val = _merge(starts, 'epoch' if unit == 'epoch' else 'iter')
    if not val:
        raise ValueError(f"'{work_dir}' holds no validation of its latest training yet: wait for the first one, lower "
                         'val_interval in the config, or delete the log folder of a training started by mistake.')
    return Run(name or work_dir.resolve().name, unit, tuple(train), tuple(val))


def note_continued(folder: str | Path, epoch: int, iteration: int) -> None:
    """Note in the folder of a start how much of the earlier logs it continues: up to an epoch and iteration, or 0."""
    write_whole(Path(folder, CONTINUED), json.dumps({'epoch': epoch, 'iter': iteration}))


def continued(folder: Path) -> dict[str, int]:
    """Read what :func:`note_continued` wrote, 'epoch' and 'iter'; empty if nothing did."""
    path = folder / CONTINUED
    return json.loads(path.read_text()) if path.is_file() else {}


def read_runs(work_dirs: Sequence[str | Path], labels: Sequence[str] | None = None) -> list[Run]:
    """Read runs to be compared, one per work directory, in their order; names are the labels or those of the folders.

    Raises:
        ValueError: As :func:`read_run` and :func:`read_labelled`, or if some count epochs and others iterations.
    """
    runs = read_labelled(read_run, work_dirs, labels)
    check_units(runs)
    return runs


def read_labelled(read: Callable, work_dirs: Sequence[str | Path], labels: Sequence[str] | None = None) -> list:
    """Call ``read(work_dir, label)`` for each work directory, with label None if there are no labels.

    A ValueError says if the numbers of labels and runs differ, or two runs have the same ``name``.
    """
    if labels and len(labels) != len(work_dirs):
        raise ValueError(f'{len(labels)} labels for {len(work_dirs)} runs: give one label per run.')
    runs = [read(work_dir, label) for work_dir, label in zip(work_dirs, labels or [None] * len(work_dirs), strict=True)]
    names = [run.name for run in runs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"Several runs are called '{name}': give each its own label.")
    return runs


def check_measured(runs: Sequence[Run], metrics: Sequence[str]) -> None:
    """Raise a ValueError unless each metric is one of at least one run."""
    known = sorted({name for run in runs for name in run.metrics})
    for metric in metrics:
        if metric not in known:
            raise ValueError(f"No run measured '{metric}': choose from {', '.join(known)}.")


def check_units(runs: Sequence) -> None:
    """Raise a ValueError unless all runs, which have a ``name``, count their steps in one ``unit``."""
    if len({run.unit for run in runs}) > 1:
        units = ', '.join(f"'{run.name}' by {run.unit}" for run in runs)
        raise ValueError(f'The runs have no common axis ({units}): compare those of one kind.')


def _is_metric(record, key):
    return key not in BOOKKEEPING and isinstance(record.get(key), (int, float))


def _split(records):
    """Split the lines of one start of a Runner into training lines, which have 'iter', and validation lines."""
    train, val = [], []
    for record in records:
        if 'iter' in record:
            train.append(record)
        elif record.get('step'):
            val.append(record)
        elif train:
            # Without mmgcp's LogPositionHook, iteration-based trainings whose LoggerHook has log_metric_by_epoch=True
            # log all validations at step 0, after the training line of their iteration.
            val.append({**record, 'step': train[-1]['iter']})
        # Step 0 without training is a separate validation of a checkpoint, not a point of the curve.
    return train, val


def _unit(starts):
    """Return the unit of validation steps; iteration-based trainings may log an epoch too, which stays at 1."""
    trained = max((record['epoch'] for _, train, _ in starts for record in train if 'epoch' in record), default=0)
    first_validation = min((record['step'] for *_, val in starts for record in val), default=0)
    return 'epoch' if trained and first_validation <= trained else 'iteration'


def _merge(starts, position):
    """Merge the starts of a Runner; ``position`` is the key of training lines that corresponds to 'step'."""
    merged_train, merged_val = [], []
    for earlier, train, val in starts:
        if train or val:
            last = earlier.get(position, train[0][position] - 1 if train else val[0]['step'])
            merged_train = [record for record in merged_train if record[position] <= last] + train
            merged_val = [record for record in merged_val if record['step'] <= last]
        if val:  # first, perhaps, that of the step it resumed from
            merged_val = [record for record in merged_val if record['step'] < val[0]['step']] + val
    return merged_train, merged_val
