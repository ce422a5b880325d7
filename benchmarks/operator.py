"""Covariance pooling from features to vector, forward and backward: time, memory and arithmetic, in one process.

    python -m benchmarks.operator [--device cuda] [--batch 32] [--repeats 9] [--threads 2] [--methods [IMAGES]]
                                  [--save results/benchmarks]

Prints Markdown tables: Newton-Schulz pooling against (a) iSQRT-COV as published and (b) autograd through the
eigendecomposition, its arithmetic, on a GPU its time without the launches from Python, and with --methods every other
method at every size. --save also writes them as CSV files.
"""
import argparse
import math
from collections.abc import Callable
from functools import partial
from statistics import median

import torch

from benchmarks.measure import (
    Tables,
    add_save_option,
    forward_and_backward,
    held_bytes,
    in_turns,
    interleaved_medians,
    matrix_flops,
    matrix_rate,
    needs_device,
    needs_memory,
    peak_bytes,
)
from benchmarks.textbook import eigh_vector, isqrt_cov_vector
from mmgcp.ops import METHODS, CovariancePooling, covariance_pool

SIZES = [(256, 7), (128, 7), (256, 14), (128, 14), (256, 28), (128, 28)]
newton_schulz = partial(covariance_pool, vector=True)


def inputs(channels: int, side: int, args) -> tuple:
    """Features like those behind a ReLU, and a gradient for the vector."""
    x = torch.randn(args.batch, channels, side, side, device=args.device).relu().requires_grad_()
    return x, torch.randn(args.batch, channels * (channels + 1) // 2, device=args.device)


def largest_step(args: argparse.Namespace) -> Callable[[], list[float]]:
    """The published iteration at the size that takes most memory."""
    channels, side = max(SIZES, key=lambda size: size[0]**2 + size[0] * size[1]**2)
    return partial(forward_and_backward, isqrt_cov_vector, *inputs(channels, side, args))


def relative_errors(x, weight) -> list[float]:
    """Relative errors of value and gradient against a float64 evaluation of the same polynomial, on up to 8 images."""
    x, weight = x[:8].detach(), weight[:8]
    results = []
    for dtype in (torch.float32, torch.float64):
        leaf = x.to(dtype).requires_grad_()
        out = (newton_schulz if dtype == torch.float32 else isqrt_cov_vector)(leaf)
        results.append([out.detach().double(), torch.autograd.grad(out, leaf, weight.to(dtype))[0].double()])
    return [((a - b).norm() / b.norm()).item() for a, b in zip(*results, strict=True)]


def against_textbook(args, tables: Tables) -> None:
    """Time, memory and error of Newton-Schulz pooling."""
    rows = []
    for channels, side in SIZES:
        x, weight = inputs(channels, side, args)
        functions = [newton_schulz, isqrt_cov_vector, eigh_vector]
        times = interleaved_medians([partial(forward_and_backward, f, x, weight) for f in functions], args.repeats)
        ours, textbook, eigh = (1e3 * sum(t) for t in times)
        held, held_textbook = (held_bytes(f, x) / args.batch / 1024 for f in functions[:2])
        rows.append([
            f'{channels} x {side} x {side}', f'{1e3 * times[0][0]:.1f} + {1e3 * times[0][1]:.1f}', f'{textbook:.1f}',
            f'{eigh:.0f}', f'{textbook / ours:.1f}', f'{eigh / ours:.1f}', f'{held:.0f}', f'{held_textbook:.0f}',
            f'1/{held_textbook / held:.1f}', *(f'{error:.1e}' for error in relative_errors(x, weight))
        ])
    tables.show('textbook', ['C x H x W', 'mmgcp, forward + backward (ms)', '(a) (ms)', '(b) (ms)', 'times (a)',
                             'times (b)', 'held (KiB/image)', '(a) held', 'share', 'error', 'of the gradient'], rows)


def arithmetic(args, tables: Tables) -> None:
    """Operations of the matrix products, their share of the rate of one large product, and the least memory traffic."""
    rate = matrix_rate(args.device)
    rows = []
    for channels, side in SIZES:
        x, weight = inputs(channels, side, args)
        flops, textbook = (matrix_flops(f, x, weight) for f in (newton_schulz, isqrt_cov_vector))
        (times, ) = interleaved_medians([partial(forward_and_backward, newton_schulz, x, weight)], args.repeats)
        traffic = 4 * 2 * (x.numel() + weight.numel())
        rows.append([f'{channels} x {side} x {side}', f'{flops / 1e9:.2f}', f'{textbook / 1e9:.2f}',
                     f'{1e3 * flops / rate:.1f}', f'{1e3 * sum(times):.1f}', f'{100 * flops / rate / sum(times):.0f} %',
                     f'{traffic / 2**20:.1f}'])
    print(f'\nLargest matrix-product rate measured: {rate / 1e9:.0f} GFLOP/s (2048 x 2048)')
    tables.show('arithmetic', ['C x H x W', 'GFLOP', '(a) GFLOP', 'at the full rate (ms)', 'measured (ms)',
                               'share of the rate', 'least traffic (MiB)'], rows)


def without_launches(args, tables: Tables) -> None:
    """Time of a pass in a CUDA graph, which waits neither for Python nor for launches."""
    rows = []
    for channels, side in SIZES:
        x, weight = inputs(channels, side, args)
        graphs = [Graph(partial(_pass, f, x, weight)) for f in (newton_schulz, isqrt_cov_vector)]
        ours, textbook = (1e3 * median(seconds) for seconds in in_turns(graphs, args.repeats))
        rows.append([f'{channels} x {side} x {side}', f'{ours:.2f}', f'{textbook:.2f}', f'{textbook / ours:.1f}'])
    tables.show('graph', ['C x H x W', 'mmgcp in a CUDA graph (ms)', '(a) in a CUDA graph (ms)', 'times (a)'], rows)


class Graph:
    """A function captured in a CUDA graph; a call replays it and returns its duration in seconds."""

    def __init__(self, function: Callable[[], object]) -> None:
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            function()  # sets up what capturing forbids
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=stream):
            function()

    def __call__(self) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        self.graph.replay()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1e3


def _pass(function, x, weight):
    torch.autograd.grad(function(x), x, weight)


def all_methods(args, tables: Tables) -> None:
    """Time and memory of every method, a column per size."""
    sizes = [f'{channels} x {side} x {side}' for channels, side in SIZES]
    times, memories = zip(*(methods_at(channels, side, args) for channels, side in SIZES), strict=True)
    tables.show('methods_time', ['forward + backward (ms)', *sizes],
                [[name, *cells] for name, *cells in zip(METHODS, *times, strict=True)])
    tables.show('methods_memory', ['held / peak (KiB/image)', *sizes],
                [[name, *cells] for name, *cells in zip(METHODS, *memories, strict=True)])


def methods_at(channels: int, side: int, args) -> tuple[list[str], list[str]]:
    """Time and memory of every method at one size."""
    x, _ = inputs(channels, side, args)
    modules = [CovariancePooling(channels, name).to(args.device) for name in METHODS]
    steps = [partial(forward_and_backward, module, x, torch.randn(args.batch, module.out_channels, device=args.device))
             for module in modules]
    times = interleaved_medians(steps, args.repeats)
    memories = [(held_bytes(module, x), peak_bytes(step, args.device))
                for module, step in zip(modules, steps, strict=True)]
    return ([f'{1e3 * forward:.1f} + {1e3 * backward:.1f}' for forward, backward in times],
            [f'{held / args.batch / 1024:.0f} / {peak / args.batch / 1024:.0f}' for held, peak in memories])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--threads', type=int, default=2, help='CPU threads')
    parser.add_argument('--batch', type=int, default=32, help='images; 256 is usual on a GPU')
    parser.add_argument('--repeats', type=int, default=9, help='timed repetitions')
    parser.add_argument('--device', type=torch.device, default=torch.device('cpu'))
    parser.add_argument('--methods', type=int, nargs='?', const=math.inf, metavar='IMAGES',
                        help='also measure all methods, on this many of the images (default: all)')
    add_save_option(parser)
    args = parser.parse_args()
    needs_device(parser, args.device)
    if args.methods == math.inf:
        args.methods = args.batch
    if args.methods is not None and not 1 <= args.methods <= args.batch:
        parser.error(f'--methods {args.methods} must be between 1 and --batch {args.batch}')
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(f'float32, batch {args.batch}, {args.device}, {args.threads} threads, torch {torch.__version__}, medians of '
          f'{args.repeats}', flush=True)
    needs_memory(parser, args, largest_step)
    tables = Tables('operator', parser, args, apart=['device'])
    against_textbook(args, tables)
    arithmetic(args, tables)
    if args.methods:
        all_methods(argparse.Namespace(**{**vars(args), 'batch': args.methods}), tables)
    if args.device.type == 'cuda':
        without_launches(args, tables)


if __name__ == '__main__':
    main()
