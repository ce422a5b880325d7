"""Seed all random generators of a process."""
import random

import numpy as np
import torch


def seed_all(seed: int) -> None:
    """Seed the generators of Python, NumPy and torch (including CUDA) with a number below 2^32."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def seed_worker(worker_id: int) -> None:
    """Seed a data-loading worker with the seed that torch drew for it in the main process."""
    seed_all(torch.initial_seed() % 2**32)
