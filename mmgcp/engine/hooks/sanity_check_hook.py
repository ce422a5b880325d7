"""Hook that stops trainings that cannot succeed."""
import math

import torch
from mmengine.dist import broadcast, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmgcp.models.necks import GlobalCovariancePooling
from mmgcp.registry import HOOKS
from mmgcp.utils.checkpoint import latest_checkpoint
from mmgcp.utils.errors import NonFiniteLossError, SetupError


@HOOKS.register_module()
class SanityCheckHook(Hook):
    """Stop a run if its head does not fit its covariance pooling, or if its loss or weights are no longer finite.

    The loss is checked after every iteration, which is free, because MMEngine reads it anyway, and the weights, which
    are newer, before they are saved. So the last checkpoint is always good.
    """

    priority = 'VERY_HIGH'

    def before_run(self, runner: Runner) -> None:
        """Compare the widths of neck and head, and broadcast the buffers of rank 0.

        Buffers that are drawn at random, such as the sketch of compact bilinear pooling, differ between processes with
        ``diff_rank_seed=True``; MMEngine's SyncBuffersHook would average them.
        """
        model = getattr(runner.model, 'module', runner.model)
        if get_world_size() > 1:
            for buffer in model.buffers():
                broadcast(buffer)
        neck, head = getattr(model, 'neck', None), getattr(model, 'head', None)
        width = getattr(head, 'in_channels', None)
        if isinstance(neck, GlobalCovariancePooling) and width not in (None, neck.out_channels):
            raise SetupError(f'model.head.in_channels={width} does not match the neck, whose covariance is '
                             f'a vector of {neck.out_channels}: set model.head.in_channels={neck.out_channels}')

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Stop before weights are saved that are NaN or infinite."""
        meta = checkpoint['meta']  # counts what was trained; the runner counts an epoch, or iteration, after its save
        for name, value in checkpoint.get('state_dict', {}).items():
            # Not what FSDP has of a weight in several processes.
            if type(value) is torch.Tensor and value.is_floating_point() and not value.isfinite().all():
                self._stop(runner, f"{name} is not finite after iteration {meta['iter']}", meta['epoch'])

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Stop if a loss is NaN or infinite."""
        for name, value in (outputs or {}).items():
            value = float(value.detach()) if isinstance(value, torch.Tensor) else value
            if 'loss' in name and not math.isfinite(value):
                self._stop(runner, f'{name} is {value} at iteration {runner.iter + 1}', runner.epoch + 1)

    def _stop(self, runner, what, epoch):
        kept = latest_checkpoint(runner.work_dir)
        kept = f'The last good checkpoint is {kept}' if kept else 'No checkpoint had been saved yet'
        raise NonFiniteLossError(f'{what} (epoch {epoch}): training stops. {kept}. Look at the input data, or lower '
                                 'the learning rate')
