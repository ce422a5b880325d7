"""Does the learning rate schedule fit the length of the training?"""
import numpy as np
from mmengine.config import Config

from mmgcp.engine.schedulers import lr_curve
from mmgcp.utils.errors import SetupError


def schedule_warning(cfg: Config) -> str | None:
    """Say where a schedule leaves whole epochs without training, or is not reached.

    Args:
        cfg (Config): Config of the run.

    Returns:
        str | None: One sentence; None where there is nothing to say, or the rates are not known before the run.
    """
    by_epoch = _scheduler_epochs(cfg)
    if (cfg.get('train_cfg') or {}).get('max_iters') and by_epoch:
        return f'The training counts iterations: {", ".join(by_epoch)}, which step by epoch, may never step'
    try:
        rates = lr_curve(cfg, epoch_length=1)
    except SetupError:
        return None
    zero = np.flatnonzero(rates == 0) + 1
    if len(zero) > 1:  # the last epoch of LR_adju has rate 0 as published
        return (f'The learning rate is 0 in {len(zero)} of {len(rates)} epochs ({zero[0]} to {zero[-1]}), in which '
                'nothing is learnt: fit param_scheduler to train_cfg.max_epochs')
    return None


def _scheduler_epochs(cfg: Config) -> list[str]:
    """Types of the schedulers that step by epoch."""
    settings = cfg.get('param_scheduler') or []
    return [setting['type'] for setting in ([settings] if isinstance(settings, dict) else settings)
            if setting.get('by_epoch', True)]
