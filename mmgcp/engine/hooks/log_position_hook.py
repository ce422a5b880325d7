"""Hook that logs at which steps a training starts and validates."""
from pathlib import Path

from mmengine.dist import master_only
from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import IterBasedTrainLoop, Runner

from mmgcp.utils.checkpoint import latest_checkpoint, resolved
from mmgcp.utils.logs import note_continued
from mmgcp.utils.rank_0 import RANK_0_SCHEME


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
    """Whether a run starts from the checkpoint of another training, to which its logs then belong.

    Its own are in the work directory, or where ``out_dir`` of ``CheckpointHook`` has put the last one.
    """
    source = (getattr(runner, '_load_from', None) or '').removeprefix(RANK_0_SCHEME)
    if not source:
        return False
    last = latest_checkpoint(runner.work_dir)
    own = [Path(runner.work_dir), *([Path(last).parent] if last else [])]
    return Path(resolved(source)).resolve().parent not in [folder.resolve() for folder in own]
