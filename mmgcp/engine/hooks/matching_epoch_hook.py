"""Hook that logs when a training reaches the accuracy of another (Table 2)."""
import math

from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from mmgcp.registry import HOOKS
from mmgcp.utils.errors import SetupError
from mmgcp.utils.logs import read_run
from mmgcp.utils.processes import on_main_process

from .log_position_hook import is_from_elsewhere


@HOOKS.register_module()
class MatchingEpochHook(Hook):
    """Log the 'matching epoch' (Table 2): the first validation at which a metric reaches a value.

    It is logged when it happens and at the end of the training. Trainings by iteration count iterations. Higher metrics
    are better; NaN never reaches the value. A resumed training reads earlier validations from the checkpoint, and from
    the log in its work directory, because a checkpoint is saved before its epoch is validated.

    Args:
        target (float, optional): Value to reach, in the metric's unit: 70.47 for ResNet-18 with average pooling.
        reference (str, optional): Instead of ``target``, work directory of the training whose final value to reach.
        metric (str): Validation metric. Default: ``'accuracy/top1'``.
        stop (bool): Stop the training once the value is reached; resumed later, it stops at once. Default: False.

    Raises:
        ValueError: If not exactly one of ``target`` and ``reference`` is given, or ``target`` is not finite.
        SetupError: In training, if validation or log of the reference are missing, or do not measure the metric.
    """

    def __init__(self, target: float | None = None, reference: str | None = None, metric: str = 'accuracy/top1',
                 stop: bool = False) -> None:
        if (target is None) == (reference is None):
            raise ValueError('MatchingEpochHook needs either target, the value to reach, or reference, the work '
                             f'directory of the training to match: got target={target}, reference={reference!r}')
        if target is not None and not math.isfinite(target):
            raise ValueError(f'target={target} must be a finite number')
        self.target, self.reference, self.metric, self.stop = target, reference, metric, stop
        self.unit = None  # known when the training starts
        self.values = {}

    @property
    def matching_epoch(self) -> int | None:
        """Epoch or iteration of the first validation that reached the target, or None."""
        return next((step for step, value in sorted(self.values.items()) if value >= self.target), None)

    def before_train(self, runner: Runner) -> None:
        """Determine the target, and read the earlier validations of a resumed training."""
        if runner.val_loop is None:
            raise SetupError('MatchingEpochHook needs validation: set val_dataloader, val_cfg and val_evaluator, or '
                             'take the hook out of custom_hooks')
        self.unit = 'iteration' if isinstance(runner.train_loop, IterBasedTrainLoop) else 'epoch'
        if self.reference is not None:
            self.target = on_main_process(self._final_of_reference)
        key = f'matching_epoch/{self.metric}'
        begin = self._begin(runner, f'{key}/begin')
        logged = on_main_process(self._logged, runner) if self._step(runner) > begin else {}
        values = {**runner.message_hub.get_info(key, {}), **{s: value for s, value in logged.items() if s > begin}}
        self.values = {step: value for step, value in values.items() if step <= self._step(runner)}
        runner.message_hub.update_info(key, self.values)  # every checkpoint saves it
        if self.matching_epoch is not None:
            self._report(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Compare the metric with the target."""
        if self.unit is None:  # validation without training
            return
        if self.metric not in (metrics or {}):
            raise SetupError(f"MatchingEpochHook waits for '{self.metric}', which the validation does not measure: set "
                             f"metric to one of {', '.join(metrics or {})}")
        matched_before = self.matching_epoch is not None
        self.values[self._step(runner)] = float(metrics[self.metric])
        if self.matching_epoch is not None and not matched_before:
            self._report(runner)

    def after_train(self, runner: Runner) -> None:
        """Log the matching epoch, or the best value if the target was not reached."""
        if self.matching_epoch is not None:
            runner.logger.info(f'Matching {self.unit} of {self._goal}: {self.matching_epoch}.')
            return
        finite = {step: value for step, value in self.values.items() if math.isfinite(value)}
        best = max(finite, key=finite.get, default=None)
        best = 'no validation had a value' if best is None else f'best {finite[best]:g} at {self.unit} {best}'
        runner.logger.info(f'Matching {self.unit} of {self._goal}: not reached: {best}.')

    @property
    def _goal(self):
        of = f', the last of {self.reference}' if self.reference is not None else ''
        return f'{self.metric} {self.target:g}{of}'

    def _step(self, runner):
        return runner.iter if self.unit == 'iteration' else runner.epoch

    def _report(self, runner):
        end = ': the training ends' if self.stop else ''
        runner.logger.info(f'{self._goal} was reached at {self.unit} {self.matching_epoch} with '
                           f'{self.values[self.matching_epoch]:g}{end}.')
        if self.stop:
            runner.train_loop.stop_training = True

    def _final_of_reference(self):
        final = read_run(self.reference).final(self.metric)
        if not math.isfinite(final):
            raise SetupError(f"the log of '{self.reference}' ends with {final} for '{self.metric}': choose another "
                             'reference, or give target')
        return final

    def _begin(self, runner, key):
        """Return the step at which training in this work directory began; older logs belong to another training."""
        if is_from_elsewhere(runner):
            runner.message_hub.update_info(key, self._step(runner))  # every checkpoint saves it
        return runner.message_hub.get_info(key, 0)

    def _logged(self, runner):
        """Return the validations in the log of a resumed training, empty if there are none."""
        try:
            steps, values = read_run(runner.work_dir).curve(self.metric)
        except ValueError as error:  # resumed from another work directory, or not validated before
            runner.logger.info(f'MatchingEpochHook knows earlier validations from the checkpoint alone. {error}')
            return {}
        return dict(zip(steps.tolist(), values.tolist(), strict=True))
