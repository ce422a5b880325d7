"""Hook that validates where a resumed training goes on."""
from mmengine.hooks import Hook, ParamSchedulerHook
from mmengine.runner import IterBasedTrainLoop, Runner

_VALIDATED = 'last_validated_iter'  # MMEngine would write keys that start with 'val' into the log


class ResumedValidationHook(Hook):
    """Validate the checkpoint that a training resumes from, if validation was due after it.

    MMEngine saves a checkpoint before it validates. Without this hook, a training that was killed in between lacks
    that validation, perhaps the last one, and schedules and records of the best checkpoint do not know its result.
    A checkpoint with a new best result is saved again after its validation. Schedules in it know the result, and do
    not follow it again; hooks without a state, such as ``EarlyStoppingHook``, learn it.
    """

    priority = 'LOWEST'  # after hooks that get ready in before_train

    def before_val_epoch(self, runner: Runner) -> None:
        """Note which iteration is validated, for the checkpoints that follow."""
        runner.message_hub.update_info(_VALIDATED, runner.iter)

    def before_train(self, runner: Runner) -> None:
        """Validate, unless the checkpoint was saved within an epoch, or epochs had another length before."""
        if runner.val_loop is None or not runner.iter:
            return
        loop = runner.train_loop
        by_iteration = isinstance(loop, IterBasedTrainLoop)
        done, length = (loop.iter, loop.max_iters) if by_iteration else (loop.epoch, loop.max_epochs)
        if not by_iteration and loop.iter != loop.epoch * len(loop.dataloader):
            return
        loop._decide_current_val_interval()
        if done >= loop.val_begin and (done % loop.val_interval == 0 or done == length):
            hooks = runner._hooks
            if runner.message_hub.runtime_info.get(_VALIDATED) == runner.iter:
                runner._hooks = [hook for hook in hooks if not isinstance(hook, ParamSchedulerHook)]
            runner.val_loop.run()
            runner._hooks = hooks
