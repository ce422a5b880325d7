"""Hook that applies changed settings when a training resumes."""
import copy
from collections import defaultdict
from collections.abc import Iterator

import torch
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from torch.optim import Optimizer

from mmgcp.engine.schedulers.curve import steps_of_epochs
from mmgcp.utils.errors import SetupError

from .memory_layout import match_layout

# What a scheduler has done so far, beside its settings. Base values are those of the optimizer.
_PROGRESS = {'last_step', '_global_step', '_last_value', 'base_values', 'verbose', 'best', 'num_bad_epochs',
             'cooldown_counter'}


class ResumedSettingsHook(Hook):
    """Resume with the schedules and the optimizer settings of the config, instead of those in the checkpoint.

    MMEngine restores schedulers and parameter groups whole, and with them their old settings. If the config has
    changed, or the checkpoint has no optimizer state, learning rate and momentum become what they would be if the
    training had started with these settings. Weights, optimizer state, and the numbers of epochs and iterations are
    those of the checkpoint.
    """

    priority = 'VERY_HIGH'

    def before_run(self, runner: Runner) -> None:
        """Keep the settings of the config."""
        self.schedulers = copy.deepcopy([scheduler.state_dict() for scheduler in runner.param_schedulers or []])
        self.groups = [copy.deepcopy({name: value for name, value in group.items() if name != 'params'})
                       for group in runner.optim_wrapper.param_groups]

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep the schedules of the checkpoint, whose optimizer must be of the config's type."""
        self.has_optimizer = bool(checkpoint.get('optimizer'))
        if self.has_optimizer:
            groups = checkpoint['optimizer']['param_groups']
            sizes = [[len(group['params']) for group in found] for found in (
                groups, runner.optim_wrapper.optimizer.param_groups)]
            if sizes[0] != sizes[1]:
                saved, built = (f'{sum(size)} tensors in {len(size)} group{"s" * (len(size) > 1)}' for size in sizes)
                raise SetupError(f'the optimizer of the checkpoint trains {saved}, that of the config {built}: keep '
                                 'what is trained, and its settings in optim_wrapper.paramwise_cfg, or start a new '
                                 'training from the checkpoint with load_from')
            # Each type has other settings. Those of single groups are layer multipliers; versions of torch add some.
            old, new = (set.intersection(*map(set, found)) for found in (groups, self.groups))
            removed, added = (
                sorted(name for name in one - other if name != 'params' and not name.startswith('initial_'))
                for one, other in ((old, new), (new, old)))
            if removed and added:
                raise SetupError(f'the optimizer of the checkpoint has the settings {", ".join(removed)}, that of the '
                                 f'config {", ".join(added)}: keep the type in optim_wrapper.optimizer, or start a '
                                 'new training from the checkpoint with load_from')
        else:
            checkpoint.pop('optimizer', None)  # it may be None
        self.saved = checkpoint.get('param_schedulers') or []

    def before_train(self, runner: Runner) -> None:
        """Restore the settings of the config if they have changed, and log the changes."""
        match_layout(runner.optim_wrapper)
        schedulers, by_iteration = runner.param_schedulers or [], isinstance(runner.train_loop, IterBasedTrainLoop)
        epochs, length = (1, runner.iter) if by_iteration else (runner.epoch, len(runner.train_dataloader))
        for scheduler, old, new in zip(schedulers, self.saved, self.schedulers, strict=False):
            if getattr(scheduler, 'need_val_args', False):
                scheduler.end = old['end'] = new['end']  # that of the present training
        told = ', '.join(f'{name} {old} -> {new}' for name, (old, new) in dict(self._changes(runner)).items())
        follows = next((type(s).__name__ for s in schedulers if getattr(s, 'need_val_args', False)), None)
        if follows and [set(state) for state in self.saved] != [set(state) for state in self.schedulers]:
            raise SetupError(f'the checkpoint has schedules of other types than the config ({told}), and {follows} '
                             'follows results of validation, which are not known anymore: keep the types in '
                             'param_scheduler, or start a new training from the checkpoint with load_from')
        if follows and not self.has_optimizer:
            raise SetupError(f'the checkpoint has no state of the optimizer, and {follows} '
                             'follows results of validation, which are not known anymore: start a new training from '
                             'the checkpoint with load_from')
        if told and follows:
            runner.logger.warning(f'Resumed with the settings of the checkpoint, as a schedule follows the results of '
                                  f'validation: these changes do not count: {told}')
        elif told:
            for group, settings in zip(runner.optim_wrapper.param_groups, self.groups, strict=True):
                group.update(settings)
            for scheduler, state in zip(schedulers, self.schedulers, strict=True):
                # Not load_state_dict, which would keep what a schedule of another type had in the checkpoint.
                scheduler.__dict__ = {'optimizer': scheduler.optimizer, **state}
            for _ in steps_of_epochs([s for s in schedulers if not (by_iteration and s.by_epoch)], epochs, length):
                pass
            runner.logger.info(f'Resumed with changed settings, as if the training had started with them: {told}')
        elif epochs and not epochs * length <= runner.iter < (epochs + 1) * length and not all(
                scheduler.by_epoch for scheduler in schedulers):  # not merely saved within an epoch
            runner.logger.warning(f'An epoch has {length} iterations, but had {runner.iter / epochs:g} before: '
                                  f'schedules by iteration run {epochs * length / runner.iter:.3g} times as fast')
        _try_step(runner.optim_wrapper.optimizer)

    def _changes(self, runner: Runner) -> Iterator[tuple[str, tuple]]:
        """Yield the names of changed settings, with old and new values."""
        if not self.has_optimizer:
            yield 'state of the optimizer', ('absent', 'initial')
        if len(self.saved) != len(self.schedulers):
            yield 'number of schedules', (len(self.saved), len(self.schedulers))
        scheduled = {state['param_name'] for state in self.schedulers}
        scheduled |= {'betas'} if 'momentum' in scheduled else set()  # of Adam
        # A checkpoint does not say the types of its schedules, but each type has other settings.
        pairs = [(type(scheduler).__name__, old, new, (set(old) | set(new)) - _PROGRESS) for scheduler, old, new in zip(
            runner.param_schedulers or [], self.saved, self.schedulers, strict=False)]
        pairs += [('optimizer', old, new, set(old) & set(new) - scheduled) for old, new in zip(
            runner.optim_wrapper.param_groups, self.groups, strict=True)]
        for name, old, new, keys in pairs:
            for key in sorted(keys):
                before, now = old.get(key, 'absent'), new.get(key, 'absent')
                if before != now and (before or now):  # versions of torch write None for False
                    yield f'{name}.{key}', (before, now)


def _try_step(optimizer: Optimizer) -> None:
    """Take a step with a copy of one weight of each group, which shows whether the optimizer lacks something.

    Settings that are switched on, such as ``amsgrad``, need a state that the checkpoint does not have.
    """
    if not type(optimizer).__module__.startswith(('torch.optim.', 'mmgcp.')):
        return  # those of other libraries may talk to other processes
    for group in optimizer.param_groups:
        weight = next((weight for weight in group['params'] if optimizer.state.get(weight)), None)
        if weight is None:
            continue
        copied = weight.detach().clone()
        copied.grad = torch.zeros_like(copied)
        trial = copy.copy(optimizer)
        trial.param_groups = [dict(group, params=[copied])]
        trial.state = defaultdict(dict, {copied: copy.deepcopy(optimizer.state[weight])})
        try:
            trial.step()
        except RuntimeError:
            return  # it takes other gradients than dense ones, as SparseAdam does
        except KeyError as error:
            raise SetupError(f'the checkpoint has no {error.args[0]}, which {type(optimizer).__name__} with the '
                             'settings of optim_wrapper.optimizer needs: keep type and settings, or start a new '
                             'training from the checkpoint with load_from') from error
