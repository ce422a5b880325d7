"""Hook that validates where a resumed training goes on."""
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner


class ResumedValidationHook(Hook):
    """Validate the checkpoint that a training resumes from, if validation was due after it.

    MMEngine saves a checkpoint before it validates. Without this hook, a training that was killed in between lacks
    that validation, perhaps the last one, and schedules and records of the best checkpoint do not know its result.
    """

    priority = 'LOWEST'  # after hooks that get ready in before_train

    def before_train(self, runner: Runner) -> None:
        """Validate, unless the checkpoint was saved within an epoch, or epochs had another length before."""
        loop = runner.train_loop
        by_iteration = isinstance(loop, IterBasedTrainLoop)
        done, length = (loop.iter, loop.max_iters) if by_iteration else (loop.epoch, loop.max_epochs)
        within = not by_iteration and loop.iter != loop.epoch * len(loop.dataloader)
        if runner.val_loop is None or not done or within:
            return
        loop._decide_current_val_interval()
        if done >= loop.val_begin and (done % loop.val_interval == 0 or done == length):
            runner.val_loop.run()
