"""Time of covariance pooling, forward and backward, against the textbook formulation, both in one process.

    python -m benchmarks.operator [--threads 2] [--batch 32] [--repeats 9]

Prints a Markdown table of medians and their ratio, with the relative difference of the two in value and gradient.
"""
import argparse
import statistics
import time

import torch

from mmgcp.analysis import markdown_table
from mmgcp.ops import covariance_pool
from tests.test_ops.reference import isqrt_cov, relative_error, value_and_gradient

SIZES = [(256, 7), (128, 7), (256, 14), (128, 14), (256, 28)]


def interleaved_medians(functions, repeats: int, synchronize) -> list:
    """Median seconds of each function, taken in turns so that a slow spell of the machine meets all alike."""
    seconds = [[] for _ in functions]
    for repeat in range(repeats + 1):
        for function, times in zip(functions, seconds, strict=True):
            synchronize()
            start = time.perf_counter()
            function()
            synchronize()
            if repeat:  # the first round warms up
                times.append(time.perf_counter() - start)
    return [statistics.median(times) for times in seconds]


def compare(channels: int, side: int, batch: int, repeats: int, device: torch.device) -> list:
    """Cells of one row."""
    x = torch.randn(batch, channels, side, side, device=device).relu().requires_grad_()
    weight = torch.randn(batch, channels, channels, device=device)
    ours, textbook = ((lambda f=f: value_and_gradient(f, x, weight)) for f in (covariance_pool, isqrt_cov))
    synchronize = torch.cuda.synchronize if device.type == 'cuda' else lambda: None
    seconds = interleaved_medians([ours, textbook], repeats, synchronize)
    errors = [f'{relative_error(a, b):.1e}' for a, b in zip(ours(), textbook(), strict=True)]
    return [f'{channels} x {side} x {side}', *(f'{1e3 * s:.1f}' for s in seconds), f'{seconds[1] / seconds[0]:.1f}',
            *errors]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--threads', type=int, default=2, help='CPU threads')
    parser.add_argument('--batch', type=int, default=32, help='images')
    parser.add_argument('--repeats', type=int, default=9, help='timed repetitions')
    parser.add_argument('--device', type=torch.device, default='cpu')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(f'Forward and backward, float32, batch {args.batch}, {args.device}, {args.threads} threads, '
          f'torch {torch.__version__}, median of {args.repeats}\n')
    rows = [compare(*size, args.batch, args.repeats, args.device) for size in SIZES]
    print(markdown_table(['C x H x W', 'mmgcp (ms)', 'textbook (ms)', 'ratio', 'difference', 'of the gradient'], rows))


if __name__ == '__main__':
    main()
