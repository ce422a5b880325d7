"""Compute the learning rate of every epoch of a config by running its schedulers."""
import math
from collections.abc import Iterator, Sequence
from types import SimpleNamespace

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import ParamSchedulerHook
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope

from mmgcp.utils.errors import SetupError

EPOCH_LENGTH = 1252  # iterations: ImageNet's 1,281,167 images in batches of 1,024


def lr_curve(cfg: Config | dict, epoch_length: int = EPOCH_LENGTH,
             max_iterations: float = math.inf) -> np.ndarray:
    """Compute the lr with which each epoch of a config starts (Table 3 and Fig. 4, left; Wang et al., CVPR 2020).

    MMEngine builds the schedulers of ``cfg.param_scheduler`` on an optimizer of one parameter, and its hook steps them
    through all epochs. Layer multipliers and ``auto_scale_lr`` are not applied. Without schedulers, the lr is constant.

    Args:
        cfg (Config or dict): Config with ``optim_wrapper.optimizer.lr`` and ``train_cfg.max_epochs``.
        epoch_length (int): Iterations per epoch. Only schedules by iteration depend on it, such as a warm-up. Those
            converted by ``convert_to_iter_based`` have the same values at the starts of epochs for any length if they
            are closed-form, as mmgcp's are. Default: 1252, ImageNet at batch 1,024.
        max_iterations (float): Largest number of iterations to simulate, in which some schedule by iteration runs;
            each takes some 10 microseconds. Default: infinity.

    Returns:
        np.ndarray: Learning rates, (max_epochs,) float64; entry ``e`` is the rate at the start of epoch ``e + 1``.

    Raises:
        SetupError: If the config trains by iterations, has no single lr, a scheduler cannot be built or depends on
            validation results, ``epoch_length`` is not positive, or there are more than ``max_iterations``.
    """
    if epoch_length < 1:
        raise SetupError(f'epoch_length={epoch_length} must be at least 1 iteration')
    max_epochs = (cfg.get('train_cfg') or {}).get('max_epochs')
    if not max_epochs:
        raise SetupError('the config has no train_cfg.max_epochs: learning rates are given by epoch, not for a '
                         'training that counts iterations')
    lr = ((cfg.get('optim_wrapper') or {}).get('optimizer') or {}).get('lr')
    if not isinstance(lr, (int, float)) or lr < 0:
        raise SetupError(f'the config has no optim_wrapper.optimizer.lr of 0 or more, but {lr}')
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)  # its type does not matter to schedulers
    schedulers = list(_schedulers(cfg, optimizer, max_epochs, epoch_length))
    iterations = min(max((s.end for s in schedulers if not s.by_epoch), default=0), max_epochs * epoch_length)
    if iterations > max_iterations:
        raise SetupError(f'the schedules by iteration run for {iterations} iterations, more than {max_iterations}')
    rates = [optimizer.param_groups[0]['lr'] for _ in steps_of_epochs(schedulers, max_epochs, epoch_length)]
    return np.array(rates, dtype=np.float64)


def steps_of_epochs(schedulers: Sequence[_ParamScheduler], epochs: int, epoch_length: int) -> Iterator[None]:
    """Step schedulers through epochs as MMEngine's hook does, yielding at the start of each."""
    runner, hook = SimpleNamespace(param_schedulers=list(schedulers)), ParamSchedulerHook()
    for scheduler in schedulers:
        scheduler.optimizer._global_step = 0  # schedulers warn if it has never stepped
    for _ in range(epochs):
        yield
        # Those that have ended, such as a warm-up, have nothing to do after an iteration.
        running = [scheduler for scheduler in schedulers
                   if not scheduler.by_epoch and scheduler._global_step < scheduler.end]
        for index in range(epoch_length if running else 0):
            hook.after_train_iter(SimpleNamespace(param_schedulers=running), index)
        hook.after_train_epoch(runner)


def _schedulers(cfg, optimizer, max_epochs, epoch_length):
    """Build the schedulers of a config with the defaults that MMEngine's Runner gives them."""
    settings = cfg.get('param_scheduler') or []
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        for setting in [settings] if isinstance(settings, dict) else settings:
            end = max_epochs if setting.get('by_epoch', True) else max_epochs * epoch_length
            defaults = dict(optimizer=optimizer, end=end, epoch_length=epoch_length)
            try:
                scheduler = PARAM_SCHEDULERS.build(setting, default_args=defaults)
            except (AssertionError, KeyError, TypeError, ValueError) as error:
                raise SetupError(f'param_scheduler={dict(setting)} cannot be built: {error.args[0]}') from error
            if getattr(scheduler, 'need_val_args', False):
                raise SetupError(f"{setting['type']} follows the results of validation: its learning rates are not "
                                 'known before the training')
            yield scheduler
