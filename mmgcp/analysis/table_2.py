"""Table 2 of the paper (Wang et al., CVPR 2020) from work directories: what was trained how, and what it reached.

Reading a training needs MMEngine, for its config and its schedule, which is imported where it is used.
"""
import csv
import functools
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .convergence import convergence_table
from .learning_rates import schedule_files
from .runs import Run, read_runs
from .tables import arrow, decimals, markdown_table

METRIC_HEADERS = {'accuracy/top1': 'top-1', 'accuracy/top5': 'top-5'}
CONV5 = {'stride': '_D', 'max_pool': '_M'}  # GCP_D, GCP_M


@dataclass(frozen=True)
class Training:
    """A run, and how it was trained.

    Attributes:
        run (Run): The log.
        network (str): Its backbone: 'ResNet-18'.
        pooling (str): 'GAP', 'GCP', 'GCP_D', 'GCP_M', or the type of another neck.
        lr (str): Setting of the learning rate: 'LR_norm', 'LR_fast' or 'LR_adju' of Table 3, otherwise the types of its
            schedulers and the first rate; after 'K-FAC' where this optimises.
        batch (int | None): Images per step; None where this is not known.
        planned (int | None): Epochs (iterations) of the config.
    """
    run: Run
    network: str
    pooling: str
    lr: str
    batch: int | None
    planned: int | None = field(default=None)


def read_trainings(work_dirs: Sequence[str | Path], labels: Sequence[str] | None = None) -> list[Training]:
    """Read runs and their configs.

    Args:
        work_dirs (Sequence[str | Path]): One work directory per run.
        labels (Sequence[str], optional): One name per run; by default those of the folders.

    Returns:
        list[Training]: The runs, in the order given. A warning tells whose batch is not known, or changed on the way.

    Raises:
        ValueError: If a run cannot be read (see :func:`~mmgcp.analysis.runs.read_runs`), or its config is missing.
    """
    return [_read_training(Path(work_dir), run)
            for work_dir, run in zip(work_dirs, read_runs(work_dirs, labels), strict=True)]


def table_2(trainings: Sequence[Training],
            metrics: Sequence[str] = ('accuracy/top1', 'accuracy/top5'),
            reference: str | None = None) -> tuple[list[str], list[list[str]]]:
    """Compare trainings as Table 2 does.

    The best value of the first metric counts, and what the others were at that epoch. Differences, with an arrow up or
    down, are those from the reference: of the matching epoch from its full training, of metrics from its values.

    Args:
        trainings (Sequence[Training]): The runs.
        metrics (Sequence[str]): Validation metrics; those after the first may be missing in some runs.
        reference (str, optional): Name of the run to match. By default each network has its own: its first run with
            average pooling, or, if there is none, its first run.

    Returns:
        tuple[list[str], list[list[str]]]: Names of the columns, and the cells of a row per run, in the order given.

    Raises:
        ValueError: If a run lacks the first metric, no run has another one, no run is called ``reference``, or a
            reference has nothing but NaN.
    """
    for metric in metrics[1:]:
        if not any(metric in training.run.metrics for training in trainings):
            known = sorted({name for training in trainings for name in training.run.metrics})
            raise ValueError(f"No run measured '{metric}': choose from {', '.join(known)}.")
    rows = {}
    for group in [list(trainings)] if reference else _by_network(trainings):
        name = reference or next((training for training in group if training.pooling == 'GAP'), group[0]).run.name
        compared = convergence_table([training.run for training in group], metrics[0], name)
        of_reference = next(row for row in compared if row.name == name)
        reference_run = next(training.run for training in group if training.run.name == name)
        reached = [_at(reference_run, metric, of_reference.best_epoch) for metric in metrics]
        for training, row in zip(group, compared, strict=True):
            values = [_at(training.run, metric, row.best_epoch) for metric in metrics]
            is_reference = row is of_reference
            rows[row.name] = [
                training.network, row.name, training.pooling, training.lr,
                '' if training.batch is None else f'{training.batch:,}', _epochs(row.epochs, training.planned),
                'N/A' if is_reference else _matching(row.matching_epoch, of_reference.epochs),
                *(_value(value, None if is_reference else its) for value, its in zip(values, reached, strict=True))
            ]
    unit = trainings[0].run.unit
    header = ['network', 'run', 'pooling', 'lr', 'batch', f'{unit}s', f'matching {unit}',
              *(METRIC_HEADERS.get(metric, metric) for metric in metrics)]
    return header, [rows[training.run.name] for training in trainings]


def save_table(header: Sequence[str], rows: Sequence[Sequence[str]], path: str | Path) -> None:
    """Write a table as Markdown or CSV.

    Args:
        header (Sequence[str]): Names of the columns.
        rows (Sequence[Sequence[str]]): Cells.
        path (str | Path): File to write, ``.md`` or ``.csv``; missing folders are made.

    Raises:
        ValueError: If ``path`` has another ending.
    """
    path = Path(path)
    if path.suffix not in ('.md', '.csv'):
        raise ValueError(f"The table '{path}' must end in .md or .csv.")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == '.md':
        path.write_text(markdown_table(header, rows) + '\n', encoding='utf-8')
        return
    with path.open('w', newline='', encoding='utf-8') as file:
        csv.writer(file, lineterminator='\n').writerows([header, *rows])


def _by_network(trainings):
    networks = dict.fromkeys(training.network for training in trainings)
    return [[training for training in trainings if training.network == network] for network in networks]


def _at(run, metric, step):
    """Value of a metric at one validation; None where there is none."""
    if step is None or metric not in run.metrics:
        return None
    steps, values = run.curve(metric)
    return next((float(value) for value in values[steps == step]), None)


def _epochs(trained, planned):
    """Epochs trained, of those planned where it was fewer."""
    return f'{trained}/{planned}' if planned and trained < planned else str(trained)


def _matching(epoch, epochs_of_reference):
    return 'not reached' if epoch is None else f'{epoch} ({arrow(epoch - epochs_of_reference, 0)})'


def _value(value, reference):
    if value is None:
        return 'N/A'
    digits = decimals(value)
    difference = '' if reference is None else f' ({arrow(value - reference, digits)})'
    return f'{value:.{digits}f}{difference}'


def _read_training(work_dir, run):
    from mmengine.config import Config

    # Folders of starts that trained; those of tools/test.py hold no training.
    starts = [log.parents[1] for log in sorted(work_dir.glob('*/vis_data/scalars.json'))
              if '"iter":' in log.read_text(encoding='utf-8', errors='replace')]
    configs = [start / 'vis_data' / 'config.py' for start in starts]
    configs = [config for config in configs if config.is_file()] or sorted(work_dir.glob('*.py'))
    if not configs:
        raise ValueError(f"'{work_dir}' holds no config (<time>/vis_data/config.py or <config>.py), which MMEngine "
                         'leaves there: copy the config of the training into it.')
    cfg = Config.fromfile(configs[-1])
    network, pooling = _network(cfg.model)
    train_cfg = cfg.get('train_cfg') or {}
    return Training(
        run=run,
        network=network,
        pooling=pooling,
        lr=_lr_setting(cfg, network),
        batch=_batch(cfg, starts, run.name),
        planned=train_cfg.get('max_epochs' if run.unit == 'epoch' else 'max_iters'))


def _network(model):
    """Name of the backbone, and how it ends."""
    backbone, neck = model.get('backbone') or {}, model.get('neck') or {}
    name = _short(backbone.get('type', '')).removeprefix('GCP')
    size = backbone.get('depth') or backbone.get('arch')
    network = f'{name}-{size}' if isinstance(size, (int, str)) else name
    pooling = _short(neck.get('type', 'none'))
    if pooling == 'GlobalCovariancePooling':
        return network, 'GCP' + CONV5.get(backbone.get('conv5_downsample'), '')
    return network, 'GAP' if pooling == 'GlobalAveragePooling' else pooling


def _lr_setting(cfg, network):
    optim_wrapper = cfg.get('optim_wrapper') or {}
    setting = _known_setting(cfg, network) or _schedulers(cfg)
    return f'K-FAC, {setting}' if _short(optim_wrapper.get('type', '')) == 'KFACOptimWrapper' else setting


def _known_setting(cfg, network):
    """The setting of Table 3 that has these learning rates, or a multiple of them; None if none has."""
    from mmgcp.engine.schedulers import lr_curve
    from mmgcp.utils.errors import SetupError

    try:
        rates = lr_curve(cfg, epoch_length=1)
    except SetupError:  # by iteration, or waiting for validation results: no such setting does
        return None
    for name, known in _known_curves(network).items():
        if len(rates) == len(known) and np.allclose(rates, rates[0] / known[0] * known, rtol=1e-6, atol=0):
            scale = rates[0] / known[0]
            name, _, release = name.removeprefix('LR_').partition('_')
            return f"LR_{name}{' (release)' if release else ''}{'' if np.isclose(scale, 1) else f' x {scale:.3g}'}"
    return None


@functools.cache
def _known_curves(network):
    """Learning rates of the settings that Table 3 has for the family of a network, by name."""
    from mmengine.config import Config

    from mmgcp.engine.schedulers import lr_curve

    settings = next((files for family, files in schedule_files().items() if family.lower() in network.lower()), {})
    # The schedules by iteration have these rates at the start of each epoch, however long it is.
    return {name: lr_curve(Config.fromfile(file), epoch_length=1) for name, file in settings.items()}


def _schedulers(cfg):
    """Types of the schedulers, and the rate that the optimizer starts with."""
    settings = cfg.get('param_scheduler') or []
    types = [_short(setting['type']) for setting in ([settings] if isinstance(settings, dict) else settings)]
    lr = ((cfg.get('optim_wrapper') or {}).get('optimizer') or {}).get('lr')
    return ' + '.join(types or ['constant']) + ('' if lr is None else f' {lr:g}')


def _batch(cfg, starts, name):
    """Images per step: of a loader, times processes (which MMEngine notes in the text log), times those accumulated."""
    logs = [start / f'{start.name}.log' for start in starts]
    processes = [re.search(r'GPU number: (\d+)', log.read_text(encoding='utf-8', errors='replace'))
                 for log in logs if log.is_file()]
    processes = [int(number[1]) for number in processes if number]
    images = (cfg.get('train_dataloader') or {}).get('batch_size')
    if not processes or not images:
        missing = "'GPU number' in its log (<time>/<time>.log)" if images else 'batch_size of its train_dataloader'
        warnings.warn(f"The batch of '{name}' is not known: there is no {missing}.", stacklevel=2)
        return None
    if len(set(processes)) > 1:
        warnings.warn(f"'{name}' was trained by {', then '.join(map(str, processes))} processes: the batch is that of "
                      'the last start.', stacklevel=2)
    return images * processes[-1] * (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)


def _short(kind):
    """Name of a type without its scope: 'mmgcp.GCPResNet' is 'GCPResNet'."""
    return str(kind).rpartition('.')[2]
