"""One training step of a ResNet-18 with GCP_M under each method of pooling, relative to average pooling.

    python -m benchmarks.methods [--device cuda] [--batch 64] [--size 80] [--classes 10] [--amp] [--repeats 3]
                                 [--threads 2] [--save results/benchmarks]

A step is forward, loss, backward and SGD with momentum. Average pooling, every method at 256 channels, and
Newton-Schulz pooling with fewer channels and other numbers of iterations are measured in alternation. Prints a Markdown
table, which --save also writes as a CSV file.
"""
import argparse
from statistics import median

import torch

from benchmarks.measure import Tables, add_save_option, in_turns, needs_device, needs_memory, peak_bytes, ratio_in_turns
from benchmarks.networks import Network, Step, build
from mmgcp.ops import METHODS

# Pooling and options of the neck; the first is the baseline.
VARIANTS = {
    'GAP': ('GAP', {}),
    **{method: ('GCP_M', dict(method=method)) for method in METHODS},
    **{f'newton_schulz, {channels} channels': ('GCP_M', dict(reduced_channels=channels)) for channels in (64, 128)},
    **{f'newton_schulz, {steps} iteration{"s"[:steps != 1]}': ('GCP_M', dict(num_iters=steps)) for steps in (1, 3, 10)},
}


def measure(args: argparse.Namespace) -> list[list[str]]:
    """Rows of the table."""
    models = [build('resnet18', pooling, args.classes, **options) for pooling, options in VARIANTS.values()]
    steps = [Step(Network(model, args), args, 3, args.size, args.size) for model in models]
    seconds = in_turns(steps, args.repeats)
    peaks = [peak_bytes(step, args.device) for step in steps]
    return [[variant, f'{model.head.in_channels:,}', f'{1e3 * median(second):.1f}', ratio_in_turns(second, seconds[0]),
             f'{peak / 2**20:.0f}', f'{peak / peaks[0]:.3f}']
            for variant, model, second, peak in zip(VARIANTS, models, seconds, peaks, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--threads', type=int, default=2, help='CPU threads')
    parser.add_argument('--batch', type=int, default=64, help='images')
    parser.add_argument('--size', type=int, default=80, help='pixels a side')
    parser.add_argument('--classes', type=int, default=10)
    parser.add_argument('--repeats', type=int, default=3, help='timed repetitions')
    parser.add_argument('--device', type=torch.device, default=torch.device('cpu'))
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast')
    parser.set_defaults(fused_sgd=False, channels_last=False)  # read by Step
    add_save_option(parser)
    args = parser.parse_args()
    needs_device(parser, args.device)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(f'{"bfloat16 autocast" if args.amp else "float32"}, batch {args.batch}, {args.size} px, {args.device}, '
          f'{args.threads} threads, torch {torch.__version__}, medians of {args.repeats}', flush=True)
    needs_memory(parser, args, lambda args: Step(
        Network(build('resnet18', 'GCP_M', args.classes, method='pade'), args), args, 3, args.size, args.size))
    tables = Tables('methods', parser, args, apart=['device', 'amp', 'size'])
    tables.show('steps', ['variant', 'numbers in the representation', 'step (ms)', 'times GAP (range of the turns)',
                          'peak memory (MiB)', 'times GAP'], measure(args))


if __name__ == '__main__':
    main()
