"""Time, memory and arithmetic of PyTorch functions."""
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode


def synchronize(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def interleaved_medians(functions: list[Callable[[], list[float]]], repeats: int) -> list[list[float]]:
    """Medians of the seconds that each function returns, in turns so that a slow spell of the machine meets all."""
    rounds = [[function() for function in functions] for _ in range(repeats + 1)][1:]  # the first warms up
    return [[statistics.median(times) for times in zip(*(r[i] for r in rounds), strict=True)]
            for i in range(len(functions))]


def forward_and_backward(function: Callable[[Tensor], Tensor], x: Tensor, weight: Tensor) -> list[float]:
    """Seconds of ``function(x)`` and of the gradient of its inner product with ``weight``."""
    synchronize(x.device)
    start = time.perf_counter()
    out = function(x)
    synchronize(x.device)
    middle = time.perf_counter()
    torch.autograd.grad(out, x, weight)
    synchronize(x.device)
    return [middle - start, time.perf_counter() - middle]


def held_bytes(function: Callable[[Tensor], Tensor], x: Tensor) -> int:
    """Bytes kept between forward and backward beyond the input and the output."""
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        out = function(x)
    sizes = {_pointer(t): t.untyped_storage().nbytes() for t in kept}
    return sum(size for pointer, size in sizes.items() if pointer not in (_pointer(x), _pointer(out)))


def _pointer(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def peak_bytes(function: Callable[[], object], device: torch.device) -> int:
    """Most bytes allocated at a time while ``function`` runs, beyond those before."""
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        function()
        return torch.cuda.max_memory_allocated(device) - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        function()
    peak = allocated = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == '[memory]':
            allocated += event.nbytes()
            peak = max(peak, allocated)
    return peak


def matrix_flops(function: Callable[[Tensor], Tensor], x: Tensor, weight: Tensor) -> int:
    """Floating-point operations of the matrix products, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        torch.autograd.grad(function(x), x, weight)
    return counter.get_total_flops()


def matrix_rate(device: torch.device, size: int = 2048, repeats: int = 5) -> float:
    """Operations per second of one large float32 matrix product: what the machine can do."""
    a = torch.randn(size, size, device=device)
    seconds = []
    for _ in range(repeats + 1):
        synchronize(device)
        start = time.perf_counter()
        a @ a
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)
