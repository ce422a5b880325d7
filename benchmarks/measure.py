"""Measure time, memory and arithmetic of PyTorch functions, and write tables of the results."""
import argparse
import json
import os
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mmgcp.analysis.tables import markdown_table, save_table
from mmgcp.experiments.environment import environment
from mmgcp.ops import newton_schulz

LONG = 100


def needs_device(parser: argparse.ArgumentParser, device: torch.device) -> None:
    """Exit with an error message if the device is missing."""
    if device.type == 'cuda' and not torch.cuda.is_available():
        parser.error(f'--device {device}: no CUDA device is visible to torch {torch.__version__}')


def needs_memory(parser: argparse.ArgumentParser, args: argparse.Namespace,
                 step: Callable[[argparse.Namespace], Callable[[], object]], few: int = 2) -> None:
    """Exit with an error message if a step does not fit in memory, as extrapolated from steps on few images."""
    small, large = (saved_bytes(step(argparse.Namespace(**{**vars(args), 'batch': batch}))) for batch in (few, 2 * few))
    an_image, there = (large - small) / few, memory(args.device)
    needed = large + (args.batch - 2 * few) * an_image
    if needed > there:
        most = max(0, int(args.batch - (needed - there) / an_image))
        parser.error(f'--batch {args.batch} takes at least {needed / 2**30:.1f} GiB, and {args.device} has '
                     f'{there / 2**30:.1f}: take {most} or fewer')


def saved_bytes(step: Callable[[], object]) -> int:
    """Bytes that forward passes save for their backward passes."""
    sizes = {}
    with torch.autograd.graph.saved_tensors_hooks(
            lambda t: sizes.update({_pointer(t): t.untyped_storage().nbytes()}) or t, lambda t: t):
        step()
    return sum(sizes.values())


def memory(device: torch.device) -> int:
    """Bytes of the CPU's memory, or of a GPU's free memory."""
    if device.type == 'cuda':
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')


def synchronize(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def in_turns(functions: list[Callable[[], float]], repeats: int) -> list[list[float]]:
    """Seconds of each function in each of ``repeats`` rounds, after a warm-up round."""
    for function in functions:
        function()
    rounds = [[function() for function in functions] for _ in range(repeats)]
    return [list(seconds) for seconds in zip(*rounds, strict=True)]


def median_and_range(values: Sequence[float], form: str) -> str:
    """``median (least to most)``, each number in the format ``form``."""
    middle, least, most = (format(v, form) for v in (statistics.median(values), min(values), max(values)))
    return f'{middle} ({least} to {most})'


def ratio_in_turns(seconds: Sequence[float], base: Sequence[float]) -> str:
    """Median and range of the ratios of times from the same round."""
    return median_and_range([a / b for a, b in zip(seconds, base, strict=True)], '.3f')


def interleaved_medians(functions: list[Callable[[], list[float]]], repeats: int) -> list[list[float]]:
    """Medians of the seconds that functions return, called in alternation, so that slow spells of the machine hit all.

    After a warm-up round, functions that take over :data:`LONG` times as long as the fastest are timed once.
    """
    for function in functions:
        function()
    rounds = [[function() for function in functions]]
    fastest = min(map(sum, rounds[0]))
    brief = [sum(seconds) <= LONG * fastest for seconds in rounds[0]]
    for _ in range(repeats - 1):
        rounds.append([function() if again else None for function, again in zip(functions, brief, strict=True)])
    return [[statistics.median(times) for times in zip(*(r[i] for r in rounds if r[i]), strict=True)]
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
    """Floating-point operations of the matrix products, forward and backward, also of those that fused kernels do."""
    products_alone = mock.patch.object(newton_schulz, 'fused_available', lambda _: False)
    with products_alone, FlopCounterMode(display=False) as counter:
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


def add_save_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--save', type=Path, metavar='FOLDER', help='also write the tables to this folder')


class Tables:
    """Tables of a benchmark: printed, and with ``--save`` written to files, with a record of how and where.

    The files are called ``<benchmark>_<table>.csv`` and ``<benchmark>.json``. Settings in ``apart`` become part of the
    names, so that runs do not replace each other: ``networks_fused-sgd_steps.csv``, ``networks_fused-sgd.json``.

    Args:
        benchmark (str): Name of the module.
        parser (argparse.ArgumentParser): Its options, which :func:`add_save_option` has added to.
        args (argparse.Namespace): Parsed options.
        apart (Sequence[str]): Settings that are part of the name unless they have their defaults.
    """

    def __init__(self, benchmark: str, parser: argparse.ArgumentParser, args: argparse.Namespace,
                 apart: Sequence[str] = ()) -> None:
        self.benchmark = benchmark
        self.folder = args.save
        self.device = getattr(args, 'device', torch.device('cpu'))
        unusual = (_in_a_name(name, getattr(args, name)) for name in apart
                   if getattr(args, name) != parser.get_default(name))
        self.name = '_'.join([benchmark, *unusual])

    def show(self, table: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table, and write it with ``--save``."""
        print(f'\n{markdown_table(header, rows)}', flush=True)
        if not self.folder:
            return
        save_table(header, rows, self.folder / f'{self.name}_{table}.csv')
        made = dict(command=shlex.join(['python', '-m', f'benchmarks.{self.benchmark}', *_without_save(sys.argv[1:])]),
                    environment=environment(device=self.device))
        (self.folder / f'{self.name}.json').write_text(json.dumps(made, indent=2) + '\n')


def _in_a_name(name, value):
    if value is True:
        return name.replace('_', '-')
    return '-'.join(map(str, value if isinstance(value, list) else [value]))


def _without_save(arguments):
    parser = argparse.ArgumentParser(add_help=False)
    add_save_option(parser)
    return parser.parse_known_args(arguments)[1]
