"""Check that the learning-rate schedule fits the length of the training."""
import numpy as np
from mmengine.config import Config

from mmgcp.engine.schedulers import lr_curve
from mmgcp.utils.errors import SetupError

from .config_data import kind


def check_schedule(cfg: Config, epoch_length: int = 1) -> str | None:
    """Return a warning if whole epochs have rate 0 or schedules do not fit the length; None if not, or if unknown.

    Raises:
        SetupError: If a schedule divides by zero when it leaves its first value.
    """
    settings = cfg.get('param_scheduler') or []
    settings = [settings] if isinstance(settings, dict) else settings
    for setting in settings:
        for name in ('factor', 'start_factor'):
            if kind(setting).startswith(('Constant', 'Linear')) and setting.get(name) == 0:
                raise SetupError(f'{kind(setting)} multiplies by {name}={setting[name]}, and divides by it later: set '
                                 f'a small {name} in param_scheduler, such as 1e-6')
    if (cfg.get('train_cfg') or {}).get('max_iters'):
        # MMEngine counts the whole training as one epoch.
        by_epoch = [kind(setting) for setting in settings if setting.get('by_epoch', True)
                    and not (setting.get('convert_to_iter_based') and 'end' in setting)]
        return (f'The training counts iterations, but {", ".join(by_epoch)} counts epochs, which never end: set '
                'by_epoch=False and its lengths in iterations') if by_epoch else None
    try:
        # A longer schedule, such as of 300 epochs at 4,000 iterations, would hold up the start for some 10 s and more.
        rates = lr_curve(cfg, epoch_length, max_iterations=1_000_000)
    except SetupError:
        return None
    zero = np.flatnonzero(rates == 0) + 1
    if len(zero) > 1:  # the last epoch of LR_adju has rate 0 as published
        return (f'The learning rate is 0 in {len(zero)} of {len(rates)} epochs ({zero[0]} to {zero[-1]}), in which '
                'nothing is learnt: fit param_scheduler to train_cfg.max_epochs')
    # Schedules that have an end and lower the rate, unlike a warm-up, are meant to last as long as the training.
    ends = [setting['end'] / (1 if setting.get('by_epoch', True) else epoch_length) for setting in settings
            if 'end' in setting]
    last = max(ends, default=len(rates))
    if len(ends) == len(settings) and last <= len(rates) - 2 and rates[-1] < rates.max():
        return (f'The learning rate stays at {rates[-1]:.3g} from epoch {int(np.ceil(last)) + 1} to {len(rates)}, as '
                'all schedules have ended: fit param_scheduler to train_cfg.max_epochs')
    return None
