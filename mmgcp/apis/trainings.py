"""Read log, config and schedule of trainings from their work directories, for Table 2 of the paper."""
import functools
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.config import Config

from mmgcp.analysis.learning_rates import schedules
from mmgcp.analysis.table_2 import TrainedRun
from mmgcp.engine.schedulers import lr_curve
from mmgcp.utils.errors import SetupError
from mmgcp.utils.logs import read_runs

from .config_data import kind

CONV5 = {'stride': '_D', 'max_pool': '_M'}  # GCP_D, GCP_M


def read_trainings(work_dirs: Sequence[str | Path], labels: Sequence[str] | None = None) -> list[TrainedRun]:
    """Read runs and their configs from work directories, and warn where a batch size is unknown or changed.

    Raises:
        ValueError: If a run cannot be read (see :func:`~mmgcp.utils.logs.read_runs`), or its config is missing.
    """
    return [_read_training(Path(work_dir), run)
            for work_dir, run in zip(work_dirs, read_runs(work_dirs, labels), strict=True)]


def _read_training(work_dir, run):
    # Folders of starts that trained, not those written by tools/test.py.
    starts = [log.parents[1] for log in sorted(work_dir.glob('*/vis_data/scalars.json'))
              if '"iter":' in log.read_text(encoding='utf-8', errors='replace')]
    configs = [start / 'vis_data' / 'config.py' for start in starts]
    configs = [config for config in configs if config.is_file()] or sorted(work_dir.glob('*.py'))
    if not configs:
        raise ValueError(f"'{work_dir}' holds no config (<time>/vis_data/config.py or <config>.py), which MMEngine "
                         'leaves there: copy the config of the training into it.')
    cfg = Config.fromfile(configs[-1])
    network, pooling = _network(cfg.model)
    planned = (cfg.get('train_cfg') or {}).get('max_epochs' if run.unit == 'epoch' else 'max_iters')
    return TrainedRun(run, network, pooling, _lr_setting(cfg, network), _batch(cfg, starts, run.name), planned)


def _network(model):
    backbone, neck = model.get('backbone') or {}, model.get('neck') or {}
    name = kind(backbone).removeprefix('GCP')
    size = backbone.get('depth') or backbone.get('arch')
    network = f'{name}-{size}' if isinstance(size, (int, str)) else name
    pooling = kind(neck[-1] if isinstance(neck, list) else neck) or 'none'
    if pooling == 'GlobalCovariancePooling':
        return network, 'GCP' + CONV5.get(backbone.get('conv5_downsample'), '')
    return network, 'GAP' if pooling == 'GlobalAveragePooling' else pooling


def _lr_setting(cfg, network):
    optim_wrapper = cfg.get('optim_wrapper') or {}
    setting = _known_setting(cfg, network) or _schedulers(cfg)
    return f'K-FAC, {setting}' if kind(optim_wrapper) == 'KFACOptimWrapper' else setting


def _known_setting(cfg, network):
    """Setting of Table 3 with these learning rates or a multiple of them, or None."""
    try:
        rates = lr_curve(cfg, epoch_length=1)
    except SetupError:  # by iteration, or following validation results, as no setting of Table 3 does
        return None
    for name, known in _known_curves(network).items():
        if len(rates) == len(known) and np.allclose(rates, rates[0] / known[0] * known, rtol=1e-6, atol=0):
            scale = rates[0] / known[0]
            name, _, release = name.removeprefix('LR_').partition('_')
            return f"LR_{name}{' (release)' if release else ''}{'' if np.isclose(scale, 1) else f' x {scale:.3g}'}"
    return None


@functools.cache
def _known_curves(network):
    """Compute the learning rates of Table 3's settings for the family of a network, by name."""
    settings = next((found for family, found in schedules().items() if family.lower() in network.lower()), {})
    curves = {}
    for name, (file, options) in settings.items():
        cfg = Config.fromfile(file)
        cfg.merge_from_dict(options)
        # Schedules by iteration have these rates at the start of each epoch, whatever its length.
        curves[name] = lr_curve(cfg, epoch_length=1)
    return curves


def _schedulers(cfg):
    settings = cfg.get('param_scheduler') or []
    types = [kind(setting) for setting in ([settings] if isinstance(settings, dict) else settings)]
    lr = ((cfg.get('optim_wrapper') or {}).get('optimizer') or {}).get('lr')
    return ' + '.join(types or ['constant']) + ('' if lr is None else f' {lr:g}')


def _batch(cfg, starts, name):
    """Compute the images per step: batch size times processes (from MMEngine's text log) times accumulated passes."""
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
