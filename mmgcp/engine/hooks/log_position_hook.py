"""Hook that logs at which steps a training validates."""
from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import IterBasedTrainLoop, Runner


class LogPositionHook(Hook):
    """Log the validations of a training by iteration at their iteration, as :func:`mmgcp.utils.logs.read_run` needs it.

    MMEngine's default is the epoch, which stays 0: what was validated before the first training line has no place then.
    """

    def before_train(self, runner: Runner) -> None:
        """Set ``LoggerHook``."""
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            for hook in runner.hooks:
                if isinstance(hook, LoggerHook):
                    hook.log_metric_by_epoch = False
