"""Table 2 of the paper (Wang et al., CVPR 2020): settings and results of trainings, from work directories.

:func:`mmgcp.apis.trainings.read_trainings` reads them.
"""
import math
from collections.abc import Sequence
from dataclasses import dataclass

from mmgcp.utils.logs import Run, check_measured

from .convergence import matched_run, matching_cell
from .tables import decimals, number_cell

METRIC_HEADERS = {'accuracy/top1': 'top-1', 'accuracy/top5': 'top-5'}


@dataclass(frozen=True)
class TrainedRun:
    """A run, and how it was trained.

    ``lr`` is the setting of the learning rate: 'LR_norm', 'LR_fast' or 'LR_adju' of Table 3, otherwise the types of its
    schedulers and the first rate; prefixed by 'K-FAC' if that is the optimizer.
    """
    run: Run
    network: str  # its backbone: 'ResNet-18'
    pooling: str  # 'GAP', 'GCP', 'GCP_D', 'GCP_M', or the type of another neck
    lr: str
    batch: int | None  # images per step; None where this is not known
    planned: int | None = None  # epochs (iterations) of the config


def table_2(trainings: Sequence[TrainedRun], metrics: Sequence[str] = ('accuracy/top1', 'accuracy/top5'),
            reference: str | None = None) -> tuple[list[str], list[list[str]]]:
    """Compare trainings as Table 2 does: names of the columns, and the cells of a row per run, in the order given.

    ``metrics`` are those of the last validation; all but the first may be missing in some runs. Differences from the
    reference, with an arrow up or down, are those of the matching epoch from its full training, and of metrics from its
    values. ``reference`` names the run to match. By default each network has its own: its first run with average
    pooling, or, if there is none, its first run.

    Raises:
        ValueError: If a run lacks the first metric, all lack another, or the ``reference`` is missing or ends with NaN.
    """
    check_measured([training.run for training in trainings], metrics[1:])
    networks = dict.fromkeys(training.network for training in trainings)
    groups = [[training for training in trainings if training.network == network] for network in networks]
    rows = {}
    for group in [list(trainings)] if reference else groups:
        name = reference or next((training for training in group if training.pooling == 'GAP'), group[0]).run.name
        matched = matched_run([training.run for training in group], metrics[0], name)
        reached = [_final(matched, metric) for metric in metrics]
        for training in group:
            run = training.run
            epochs = int(run.curve(metrics[0])[0][-1])
            rows[run.name] = [
                training.network, run.name, training.pooling, training.lr,
                '' if training.batch is None else f'{training.batch:,}',
                f'{epochs}/{training.planned}' if (training.planned or 0) > epochs else str(epochs),
                matching_cell(run, matched, metrics[0]),
                *(number_cell(value, decimals(value or 0), None if run is matched else its)
                  for value, its in zip((_final(run, metric) for metric in metrics), reached, strict=True))]
    unit = trainings[0].run.unit
    header = ['network', 'run', 'pooling', 'lr', 'batch', f'{unit}s', f'matching {unit}',
              *(METRIC_HEADERS.get(metric, metric) for metric in metrics)]
    return header, [rows[training.run.name] for training in trainings]


def _final(run, metric):
    """Return the value at the last validation; None if the run does not measure the metric, or it is NaN."""
    return None if metric not in run.metrics or math.isnan(run.final(metric)) else run.final(metric)
