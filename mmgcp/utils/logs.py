"""Reads the logs that mmengine leaves in a work directory."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .records import read_lines

# What a validation line holds beside its metrics.
BOOKKEEPING = {'step', 'time', 'data_time', 'memory'}


@dataclass(frozen=True)
class Run:
    """The log of one training, however often it was interrupted.

    Attributes:
        name (str): What tables and legends call the run.
        unit (str): 'epoch' or 'iteration', whichever the steps of ``val`` count.
        train (tuple[dict]): Training lines in time order: 'loss', 'lr', 'iter', and 'epoch' when it is logged.
        val (tuple[dict]): Validation lines in time order: metrics, and 'step' in ``unit``, counted from 1.
    """
    name: str
    unit: str
    train: tuple = field(repr=False)
    val: tuple = field(repr=False)

    @property
    def metrics(self):
        """list[str]: Names of the validation metrics, sorted."""
        return sorted({key for record in self.val for key in record if _is_metric(record, key)})

    def curve(self, metric):
        """Collects one validation metric over the training (a curve of the paper's Figs. 1, 3 and 4).

        Args:
            metric (str): For example 'accuracy/top1' (in %) or 'coco/bbox_mAP' (in 0 to 1).

        Returns:
            tuple[np.ndarray, np.ndarray]: Steps in ``unit``, ascending, (n,) int64, and values in the metric's own
            unit, (n,) float64; a value may be NaN.

        Raises:
            ValueError: No validation line has this metric.
        """
        if metric not in self.metrics:
            raise ValueError(f"Run '{self.name}' has no metric '{metric}': choose one of {', '.join(self.metrics)}.")
        # A step that was validated twice keeps its later value.
        points = {record['step']: record[metric] for record in self.val if _is_metric(record, metric)}
        steps = sorted(points)
        return np.array(steps, dtype=np.int64), np.array([points[step] for step in steps], dtype=np.float64)


def read_run(work_dir, name=None):
    """Reads a work directory of mmengine's Runner.

    Every start of a Runner logs into a folder of its own, named after the time. They are merged in that order: a
    resumed training replaces what earlier ones had logged from its first epoch (iteration) on.

    Args:
        work_dir (str | Path): Folder with ``<YYYYMMDD_HHMMSS>/vis_data/scalars.json``.
        name (str, optional): Name of the run; by default that of the folder.

    Returns:
        Run: The merged log.

    Raises:
        ValueError: There is no log, the latest training has not been validated yet, or a line other than the last
            of a log cannot be read.
    """
    work_dir = Path(work_dir)
    # The names of the folders are times: their order is that of the starts.
    starts = [_split(read_lines(path)) for path in sorted(work_dir.glob('*/vis_data/scalars.json'))]
    if not starts:
        raise ValueError(f"'{work_dir}' holds no log of mmengine (<time>/vis_data/scalars.json): "
                         'give the work_dir of a training that has started.')
    unit = _unit(starts)
    train, val = _merge(starts, 'epoch' if unit == 'epoch' else 'iter')
    if not val:
        raise ValueError(f"'{work_dir}' holds no validation of its latest training yet: wait for the first one, lower "
                         'val_interval in the config, or delete the log folder of a training started by mistake.')
    return Run(name or work_dir.resolve().name, unit, tuple(train), tuple(val))


def read_runs(work_dirs, labels=None):
    """Reads runs that are to be compared.

    Args:
        work_dirs (Sequence[str | Path]): One work directory per run.
        labels (Sequence[str], optional): One name per run; by default those of the folders.

    Returns:
        list[Run]: The runs, in the order given.

    Raises:
        ValueError: A run cannot be read (see :func:`read_run`), the number of labels differs from that of the runs,
            two runs have one name, or some count epochs and others iterations.
    """
    runs = read_labelled(read_run, work_dirs, labels)
    check_units(runs)
    return runs


def read_labelled(read: Callable, work_dirs: Sequence[str | Path], labels: Sequence[str] | None = None) -> list:
    """Read work directories under names that all differ.

    Args:
        read (Callable): Reads one work directory under a name, or that of its folder for None; what it returns has the
            attribute ``name``.
        work_dirs (Sequence[str | Path]): The work directories.
        labels (Sequence[str], optional): A name for each.

    Returns:
        list: What was read, in the order given.

    Raises:
        ValueError: If the number of labels differs from that of the runs, or two runs have one name.
    """
    if labels and len(labels) != len(work_dirs):
        raise ValueError(f'{len(labels)} labels for {len(work_dirs)} runs: give one label per run.')
    runs = [read(work_dir, label) for work_dir, label in zip(work_dirs, labels or [None] * len(work_dirs), strict=True)]
    names = [run.name for run in runs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"Several runs are called '{name}': give each its own label.")
    return runs


def check_units(runs: Sequence) -> None:
    """Raise a ValueError unless all runs, which have a ``name``, count their steps in one ``unit``."""
    if len({run.unit for run in runs}) > 1:
        units = ', '.join(f"'{run.name}' by {run.unit}" for run in runs)
        raise ValueError(f'The runs have no common axis ({units}): compare those of one kind.')


def _is_metric(record, key):
    """Tells whether a validation line holds a number under ``key`` that measures the network."""
    return key not in BOOKKEEPING and isinstance(record.get(key), (int, float))


def _split(records):
    """Separates the lines of one start of a Runner into training (which alone have 'iter') and validation lines."""
    train, val = [], []
    for record in records:
        if 'iter' in record:
            train.append(record)
        elif record.get('step'):
            val.append(record)
        elif train:
            # An iteration-based training whose LoggerHook keeps log_metric_by_epoch=True logs all its validations at
            # step 0. They follow the training line of their iteration.
            val.append({**record, 'step': train[-1]['iter']})
        # Step 0 without training is a checkpoint validated by itself: not a point of the curve.
    return train, val


def _unit(starts):
    """Tells whether validation steps count epochs or iterations.

    Iteration-based trainings may log an epoch as well, which stays 1 while steps run on.
    """
    trained = max((record['epoch'] for train, _ in starts for record in train if 'epoch' in record), default=0)
    first_validation = min((record['step'] for _, val in starts for record in val), default=0)
    return 'epoch' if first_validation <= trained else 'iteration'


def _merge(starts, position):
    """Joins the starts of a Runner; ``position`` is the key by which training lines count what 'step' counts."""
    merged_train, merged_val = [], []
    for train, val in starts:
        if not (train or val):
            continue
        start = train[0][position] if train else val[0]['step']
        merged_train = [record for record in merged_train if record[position] < start] + train
        merged_val = [record for record in merged_val if record['step'] < start] + val
    return merged_train, merged_val
