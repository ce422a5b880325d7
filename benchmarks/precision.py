"""Error of Newton-Schulz pooling, value and gradient, when matrix products round their operands.

    python -m benchmarks.precision [--batch 8] [--save results/benchmarks]

TF32 and bfloat16 products are simulated: operands rounded to 10 and 7 bits of mantissa, sums in float32, as tensor
cores do. Errors are relative to a float64 evaluation of the same polynomial. Prints a Markdown table, which --save also
writes as a CSV file.
"""
import argparse

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.measure import Tables, add_save_option
from benchmarks.textbook import isqrt_cov_vector
from mmgcp.ops import covariance_pool

SIZES = [(256, 7), (256, 14), (128, 14)]
MANTISSA_BITS = {'float32': 23, 'TF32 (simulated)': 10, 'bfloat16 (simulated)': 7}
aten = torch.ops.aten
OPERANDS = {aten.bmm.default: (0, 1), aten.baddbmm.default: (1, 2)}


def rounded(x: torch.Tensor, bits: int) -> torch.Tensor:
    """Round to ``bits`` bits of mantissa, ties to even."""
    drop = 23 - bits
    whole = x.contiguous().view(torch.int32)
    whole = whole + ((1 << drop >> 1) - 1 + ((whole >> drop) & 1)) >> drop << drop
    return whole.view(torch.float32)


class RoundedProducts(TorchDispatchMode):
    """Round the operands of batched products."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if self.bits < 23 and function in OPERANDS:
            args = [rounded(a, self.bits) if i in OPERANDS[function] else a for i, a in enumerate(args)]
        return function(*args, **kwargs or {})


def errors(channels: int, side: int, batch: int, bits: int) -> list[float]:
    """Relative errors of value and gradient."""
    x = torch.randn(batch, channels, side, side).relu()
    weight = torch.randn(batch, channels * (channels + 1) // 2)
    exact = x.double().requires_grad_()
    expected = isqrt_cov_vector(exact)
    expected_grad, = torch.autograd.grad(expected, exact, weight.double())
    leaf = x.requires_grad_()
    with RoundedProducts(bits):
        out = covariance_pool(leaf, vector=True)
        grad, = torch.autograd.grad(out, leaf, weight)
    return [((a.double() - b).norm() / b.norm()).item() for a, b in ((out, expected), (grad, expected_grad))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--batch', type=int, default=8, help='images')
    add_save_option(parser)
    args = parser.parse_args()
    torch.manual_seed(0)
    rows = [[f'{channels} x {side} x {side}', name, *(f'{e:.1e}' for e in errors(channels, side, args.batch, bits))]
            for channels, side in SIZES for name, bits in MANTISSA_BITS.items()]
    Tables('precision', parser, args).show('errors', ['C x H x W', 'products', 'error', 'of the gradient'], rows)


if __name__ == '__main__':
    main()
