"""Evaluate a model's training loss without changing the model."""
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from mmgcp.utils.errors import SetupError


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[Callable[[], None]]:
    """Restore the buffers of a model and the random generators afterwards.

    Normalisation layers in training mode use the statistics of the batch but do not update the running ones, so that
    the loss is a function of weights and input alone, as ``torch.func`` requires. Activation checkpointing
    (``with_cp=True``) is off: it supports neither second derivatives nor changed activations. Products and convolutions
    are in full float32, because small differences vanish in the 10 bits of TF32, cuDNN's default; cuDNN takes
    deterministic algorithms. Unwrap DDP first.

    Yields:
        Callable[[], None]: Rewinds the random generators to their initial state, so that the next evaluation draws the
        same dropout masks and batch augmentations as the following training step.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    device = next(model.parameters()).device
    cuda_state = torch.cuda.get_rng_state(device) if device.type == 'cuda' else None

    def rewind() -> None:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if cuda_state is not None:
            torch.cuda.set_rng_state(cuda_state, device)

    norms = [module for module in model.modules()
             if isinstance(module, _NormBase) and module.training and module.track_running_stats]
    statistics = [dict(norm._buffers) for norm in norms]
    others = {id(buffer) for buffers in statistics for buffer in buffers.values()}
    kept = [(buffer, buffer.clone()) for buffer in model.buffers() if id(buffer) not in others]
    checkpointing = [module for module in model.modules() if getattr(module, 'with_cp', False) is True]
    for norm in norms:
        norm.track_running_stats = False  # for SyncBatchNorm, which asserts that what it tracks is there
        norm._buffers.update(dict.fromkeys(norm._buffers))
    for module in checkpointing:
        module.with_cp = False
    try:
        with _exact():
            yield rewind
    finally:
        for norm, buffers in zip(norms, statistics, strict=True):
            norm.track_running_stats = True
            norm._buffers.update(buffers)
        for module in checkpointing:
            module.with_cp = True
        for buffer, value in kept:
            buffer.copy_(value)
        rewind()


@contextmanager
def _exact() -> Iterator[None]:
    """Have CUDA compute in full float32, and cuDNN by deterministic algorithms."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    settings = [(cudnn, 'deterministic', True), (cudnn, 'benchmark', False)]
    if hasattr(cudnn, 'conv'):  # since torch 2.9, which reads the older settings only while they agree with these
        settings += [(cudnn.conv, 'fp32_precision', 'ieee'), (matmul, 'fp32_precision', 'ieee')]
    else:
        settings += [(cudnn, 'allow_tf32', False), (matmul, 'allow_tf32', False)]
    before = [getattr(owner, name) for owner, name, _ in settings]
    try:
        for setting in settings:
            setattr(*setting)
        yield
    finally:
        for (owner, name, _), value in zip(settings, before, strict=True):
            setattr(owner, name, value)


def preprocess(model: nn.Module, data_batch: dict) -> dict:
    """Preprocess a batch as a training step does, with batch augmentations, to ``inputs`` and ``data_samples``.

    The batch is copied first, because augmentations such as Mixup modify its samples.
    """
    return model.data_preprocessor(deepcopy(data_batch), training=True)


@contextmanager
def prepared(model: nn.Module, batches: Iterable[dict]) -> Iterator[tuple[list[dict], Callable[[], None]]]:
    """Yield preprocessed batches for an :func:`undisturbed` model, and ``rewind`` to the random state that follows."""
    with undisturbed(model):
        data = [preprocess(model, batch) for batch in batches]
        with undisturbed(model) as rewind:
            yield data, rewind


def training_loss(model: nn.Module, data: dict) -> Tensor:
    """Compute the loss that a training step minimises, a differentiable scalar, for a preprocessed batch."""
    return model.parse_losses(model(**data, mode='loss'))[0]


@contextmanager
def refused(model: nn.Module, use: str, remedy: str) -> Iterator[None]:
    """Turn errors of PyTorch on unsupported networks into a SetupError, except for running out of memory."""
    try:
        yield
    except torch.cuda.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise SetupError(f'{type(model).__name__} cannot be {use} ({str(error).splitlines()[0]}): {remedy}') from error
