"""A training step of pooling and classifier for compact representations, relative to the full covariance.

    python -m benchmarks.representations [--device cuda] [--batch 32] [--size 7] [--in-channels 2048] [--classes 1000]
                                         [--amp] [--repeats 9] [--threads 2] [--save results/benchmarks]

A step is forward, backward and SGD with momentum, by default on the last feature map of a ResNet-50. Measurements
alternate. Prints a Markdown table, which --save also writes as a CSV file.
"""
import argparse

import torch
from mmengine.analysis import parameter_count
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from torch import nn

import mmgcp.models  # noqa: F401
from benchmarks.measure import Tables, add_save_option, in_turns, needs_device, ratio_in_turns
from benchmarks.networks import Step

# Settings of the neck; the first is the baseline.
NECKS = {
    **{f'{channels} channels': dict(reduced_channels=channels) for channels in (256, 128, 90, 64)},
    **{f'{heads} heads of 256 channels': dict(heads=heads) for heads in (4, 8, 16)},
    'first and convolved second moment': dict(type='mmgcp.MomentPooling'),
    'average': dict(type='GlobalAveragePooling'),
}


def networks(in_channels: int, classes: int) -> dict[str, nn.Sequential]:
    """Pooling and classifier of each kind."""
    init_default_scope('mmpretrain')
    built = {}
    for name, settings in NECKS.items():
        settings = dict(type='mmgcp.GlobalCovariancePooling') | settings
        if settings['type'] != 'GlobalAveragePooling':
            settings['in_channels'] = in_channels
        neck = MODELS.build(settings)
        neck.init_weights()
        built[name] = nn.Sequential(neck, nn.Linear(getattr(neck, 'out_channels', in_channels), classes))
    return built


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--threads', type=int, default=2, help='CPU threads')
    parser.add_argument('--batch', type=int, default=32, help='images')
    parser.add_argument('--size', type=int, default=7, help='pixels a side of the feature map')
    parser.add_argument('--in-channels', type=int, default=2048)
    parser.add_argument('--classes', type=int, default=1000)
    parser.add_argument('--repeats', type=int, default=9, help='timed repetitions')
    parser.add_argument('--device', type=torch.device, default=torch.device('cpu'))
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast')
    parser.set_defaults(fused_sgd=False, channels_last=False)  # read by Step
    add_save_option(parser)
    args = parser.parse_args()
    needs_device(parser, args.device)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    built = networks(args.in_channels, args.classes)
    shape = (args.in_channels, args.size, args.size)
    seconds = in_turns([Step(network, args, *shape) for network in built.values()], args.repeats)
    rows = [[name, f'{network[1].in_features:,}', f"{parameter_count(network)[''] / 1e6:.2f}",
             ratio_in_turns(second, seconds[0])]
            for (name, network), second in zip(built.items(), seconds, strict=True)]
    tables = Tables('representations', parser, args, apart=['device', 'amp', 'size', 'in_channels', 'classes'])
    tables.show('steps', ['representation', 'numbers', 'parameters of neck and classifier (M)',
                          'step, times the full (range of the turns)'], rows)


if __name__ == '__main__':
    main()
