"""The fused kernels of :mod:`mmgcp.ops.fused` against the batched products that they replace, on a CUDA device.

    python -m benchmarks.fused [--batches 32 256 1024] [--repeats 9] [--save results/benchmarks]

Measured twice: as calls from Python, where small batches wait for the launches, and as replays of a CUDA graph, which
show the GPU's time alone. Prints a Markdown table: medians of alternating calls, and the smallest and largest ratio of
two neighbours. --save also writes it as a CSV file.
"""
import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from itertools import product

import torch

from benchmarks.measure import Tables, add_save_option, needs_device, synchronize
from mmgcp.ops import covariance_pool, newton_schulz

CHANNELS, SIDES = 256, (7, 8)
QUEUED = 20


def queued(function: Callable[[], object], device: torch.device) -> float:
    """Milliseconds per call of many calls without synchronisation between them."""
    synchronize(device)
    start = time.perf_counter()
    for _ in range(QUEUED):
        function()
    synchronize(device)
    return 1e3 * (time.perf_counter() - start) / QUEUED


def replayed(function: Callable[[], object], device: torch.device) -> float:
    """Milliseconds per call of many calls in a CUDA graph."""
    from triton.testing import do_bench_cudagraph
    return do_bench_cudagraph(function, return_mode='median')


WAYS = {'from Python': queued, 'CUDA graph': replayed}


def by_products(function: Callable[[], object]) -> object:
    """``function()`` without the kernels."""
    available, newton_schulz.fused_available = newton_schulz.fused_available, _never
    try:
        return function()
    finally:
        newton_schulz.fused_available = available


def _never(*_: object) -> bool:
    return False


def step(x: torch.Tensor, weight: torch.Tensor, backward: bool) -> None:
    out = covariance_pool(x, vector=True)
    if backward:
        torch.autograd.grad(out, x, weight)


def compare(batch: int, side: int, args: argparse.Namespace) -> list[list[str]]:
    """Rows of the table: forward alone, and with the backward pass."""
    x = torch.randn(batch, CHANNELS, side, side, device=args.device).relu().requires_grad_()
    weight = torch.randn(batch, CHANNELS * (CHANNELS + 1) // 2, device=args.device)
    rows = []
    for backward, (how, measure) in product((False, True), WAYS.items()):
        kernels = partial(step, x if backward else x.detach(), weight, backward)
        turns = [(measure(kernels, args.device), measure(partial(by_products, kernels), args.device))
                 for _ in range(args.repeats + 1)][1:]  # the first warms up
        ratios = [products / fused for fused, products in turns]
        fused, products = (statistics.median(times) for times in zip(*turns, strict=True))
        rows.append([f'{batch}', f'{side} x {side}', 'forward + backward' if backward else 'forward', how,
                     f'{fused:.3f}', f'{products:.3f}', f'{statistics.median(ratios):.2f}',
                     f'{min(ratios):.2f} to {max(ratios):.2f}'])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--batches', nargs='+', type=int, default=[32, 256, 1024], help='images')
    parser.add_argument('--repeats', type=int, default=9, help='timed repetitions')
    parser.add_argument('--device', type=torch.device, default=torch.device('cuda'))
    add_save_option(parser)
    args = parser.parse_args()
    needs_device(parser, args.device)
    if not newton_schulz.fused_available(torch.zeros(1, 49, 49, device=args.device)):
        parser.error(f'the kernels do not run on {args.device}: they need CUDA, torch 2.5 and Triton 3')
    torch.manual_seed(0)
    rows = [row for batch in args.batches for side in SIDES for row in compare(batch, side, args)]
    Tables('fused', parser, args).show(
        'steps', ['images', f'pixels, of {CHANNELS} channels', 'pass', 'called', 'kernels (ms)',
                  'batched products (ms)', 'times faster', 'range'], rows)


if __name__ == '__main__':
    main()
