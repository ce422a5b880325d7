"""Hook that logs at which steps a training starts and validates."""
from pathlib import Path

from mmengine.dist import master_only
from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import IterBasedTrainLoop, Runner

from mmgcp.utils.checkpoint import resolved
from mmgcp.utils.logs import note_continued
from mmgcp.utils.machines import RANK_0_SCHEME


class LogPositionHook(Hook):
    """Log what :func:`mmgcp.utils.logs.read_run` needs to merge the logs of several starts in a work directory.

    It notes up to which step the earlier logs belong to this training: none if it is a new one, or continues that of
    another work directory. Validations of a training by iteration are logged at their iteration; MMEngine's default is
    the epoch, which stays 0: what was validated before the first training line has no place then.
    """

    def before_train(self, runner: Runner) -> None:
        """Write the note, and set ``LoggerHook``."""
        self._note(runner)
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            for hook in runner.hooks:
                if isinstance(hook, LoggerHook):
                    hook.log_metric_by_epoch = False

    @master_only
    def _note(self, runner: Runner) -> None:
        epoch, iteration = (0, 0) if is_from_elsewhere(runner) else (runner.epoch, runner.iter)
        note_continued(runner.log_dir, epoch, iteration)


def is_from_elsewhere(runner: Runner) -> bool:
    """Whether a run starts from a checkpoint outside its work directory, whose logs then belong to another training."""
    source = (getattr(runner, '_load_from', None) or '').removeprefix(RANK_0_SCHEME)
    return bool(source) and Path(resolved(source)).resolve().parent != Path(runner.work_dir).resolve()
