"""Hook that measures the smoothness of the loss while a classifier trains."""
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch.nn.parallel import DistributedDataParallel

from mmgcp.probes.landscape import SIGNS, find_place, measure_landscape
from mmgcp.probes.probe import prepared
from mmgcp.registry import HOOKS
from mmgcp.utils.errors import SetupError, check_counts
from mmgcp.utils.records import append_record, open_records


@HOOKS.register_module()
class LandscapeHook(Hook):
    """Measure loss variation and gradient predictiveness (Eqs. 3 and 4, Fig. 2) and effective beta-smoothness.

    Every ``interval`` iterations, before the update, evaluates loss and gradient of the current batch at ``num_steps``
    points along the gradient (:func:`mmgcp.probes.landscape.measure_landscape`), as the authors' release does at the
    output of the stem. Normalisation layers are in training mode; dropout and batch augmentations are those of the
    following training step. Training is unaffected: weights, statistics, random numbers and losses are bit for bit
    those without the hook, except with CUDA's ``cudnn_benchmark=True``, whose choice of kernels varies anyway.

    Measurements are written to ``<work_dir>/<time>/landscape/<at>.json``, one line each, for ``plot_landscape.py``.
    Each costs about ``num_steps`` iterations; the total is logged.

    Args:
        step_range (tuple[float, float]): Smallest and largest step size, in the unit of learning rates. In the paper
            [0.1, 75] for ResNet-18 and [0.045, 1.5] for MobileNetV2, from the initial learning rate to the largest one
            with which the network with average pooling still trains. Steps act on the gradient of the mean loss: to
            move each image as far as the paper's batch of B does, multiply by the own batch over B (256 for ResNet-18).
        num_steps (int): Number of evenly spaced step sizes. Default: 50.
        interval (int): Iterations between measurements. Default: 500; the release has 1,000 for MobileNetV2.
        at (str): ``'stem'``, ``'last_conv'``, ``'image'``, ``'weights'`` or the name of a layer; see
            :func:`mmgcp.probes.landscape.find_place`. Use one hook per place.
        direction (str): ``'ascent'``, as in Eqs. 3 and 4, or ``'descent'``, as in Santurkar et al. for weights.
        steps_at_once (int, optional): Step sizes evaluated in one pass, which takes as many times the memory. Default:
            all of them on a GPU, halved whenever memory runs out; 1 on the CPU, where more are not faster.

    Raises:
        ValueError: If a setting is out of range.
        SetupError: In training, if the model has no such place, or is distributed by other means than DDP.
    """

    def __init__(self, step_range: Sequence[float], num_steps: int = 50, interval: int = 500, at: str = 'stem',
                 direction: str = 'ascent', steps_at_once: int | None = None) -> None:
        low, high = step_range
        if not 0 < low <= high < float('inf') or (low == high) != (num_steps == 1):
            raise ValueError(f'step_range={tuple(step_range)} must be two positive numbers, the smaller first, and '
                             f'num_steps={num_steps} at least 2 for them')
        check_counts(num_steps=num_steps, interval=interval,
                     **{} if steps_at_once is None else dict(steps_at_once=steps_at_once))
        if direction not in SIGNS:
            raise ValueError(f"direction={direction!r} must be one of {', '.join(map(repr, SIGNS))}")
        self.step_sizes = np.linspace(low, high, num_steps).tolist()
        self.interval, self.at, self.direction, self.steps_at_once = interval, at, direction, steps_at_once
        self.measurements, self.seconds, self.start, self.path = 0, 0., None, None

    def before_run(self, runner: Runner) -> None:
        """Find the place to measure at."""
        if is_model_wrapper(runner.model) and not isinstance(runner.model, DistributedDataParallel):
            raise SetupError(f'LandscapeHook evaluates whole networks, and {type(runner.model).__name__} spreads them '
                             'over processes: train with DDP, or take the hook out of custom_hooks')
        self.place = find_place(_network(runner), self.at)

    def before_train(self, runner: Runner) -> None:
        """Start the clock."""
        self.start = time.perf_counter()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Measure every ``interval`` iterations."""
        if runner.iter % self.interval:
            return
        start = time.perf_counter()
        model = _network(runner)
        with prepared(model, [data_batch]) as ((data, ), rewind):
            landscape = self._measure(model, data, rewind)
        seconds = time.perf_counter() - start
        self.measurements += 1
        self.seconds += seconds
        if is_main_process():
            self._write(runner, len(data['inputs']), {**landscape._asdict(), 'seconds': round(seconds, 3)})

    def after_train(self, runner: Runner) -> None:
        """Log the time spent on measurements."""
        total = time.perf_counter() - self.start
        runner.logger.info(f'LandscapeHook ({self.at}): {self.measurements} measurements in {self.seconds:.1f} s, '
                           f'{self.seconds / total:.1%} of the training time.')

    def _measure(self, model, data, rewind):
        if self.steps_at_once is None:
            self.steps_at_once = len(self.step_sizes) if next(model.parameters()).is_cuda else 1
        while True:
            try:
                return measure_landscape(model, data, self.place, self.step_sizes, self.direction, self.steps_at_once,
                                         rewind)
            except torch.cuda.OutOfMemoryError:
                if self.steps_at_once == 1:
                    raise
                if get_world_size() > 1:  # the other processes wait for this one's part of the sums
                    raise SetupError(f'memory does not suffice for steps_at_once={self.steps_at_once}: set '
                                     f'steps_at_once={self.steps_at_once // 2} of LandscapeHook') from None
            torch.cuda.empty_cache()
            self.steps_at_once = -(-self.steps_at_once // 2)

    def _write(self, runner, images, measurement):
        if self.path is None:
            self.path = Path(runner.log_dir, 'landscape', f'{self.at}.json')
            open_records(self.path, dict(at=self.at, layer=self.place.name, direction=self.direction,
                                         step_sizes=self.step_sizes, interval=self.interval,
                                         images=images * runner.world_size))
        append_record(self.path, dict(iter=runner.iter, epoch=runner.epoch + 1, **measurement))
        runner.logger.info(
            f"Landscape at {self.place.name}: loss {measurement['loss']:.4g}, along the gradient "
            f"{min(measurement['losses']):.4g} to {max(measurement['losses']):.4g}, effective beta-smoothness "
            f"{max(measurement['smoothness']):.4g} ({measurement['seconds']:.1f} s)")


def _network(runner):
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
