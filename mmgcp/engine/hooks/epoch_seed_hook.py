"""Hook that makes each epoch reproducible on its own."""
import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner, set_random_seed

from mmgcp.registry import HOOKS


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seed all random generators from (seed of the run, rank, epoch) before each training epoch.

    A run that was killed and resumed at an epoch then draws the same augmentations, and reaches the same losses, as one
    that was never interrupted. Data-loading workers are seeded from the main process when they start: even with
    ``persistent_workers=True`` they start anew with each epoch. Training by iteration is seeded once, at its start.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Set the seeding function of the data-loading workers."""
        runner.train_dataloader.worker_init_fn = _seed_worker

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed this process."""
        sequence = np.random.SeedSequence([runner.seed, get_rank(), runner.epoch])
        set_random_seed(int(sequence.generate_state(1)[0]))
        runner.train_dataloader._iterator = None  # drop persistent workers, which cannot be reseeded


def _seed_worker(worker_id: int) -> None:
    """Seed a data-loading worker with the seed that torch drew for it in the main process."""
    set_random_seed(torch.initial_seed() % 2**32)
