"""One training step of whole networks with average and with covariance pooling: time, memory, and where it goes.

    python -m benchmarks.networks [--device cuda] [--batch 32] [--amp] [--channels-last] [--fused-sgd] [--repeats 3]
                                  [--threads 2] [--save results/benchmarks]

A step is forward, loss, backward and SGD with momentum, for 1,000 classes. Prints Markdown tables: step times relative
to average pooling, and what covariance pooling adds, measured part by part on inputs of the network's size. --save also
writes them as CSV files.
"""
import argparse
import time
from contextlib import nullcontext
from statistics import median

import torch
from mmpretrain.registry import MODELS
from torch import nn

import mmgcp  # noqa: F401 (registers the models)
from benchmarks.measure import (
    Tables,
    add_save_option,
    in_turns,
    median_and_range,
    needs_device,
    needs_memory,
    peak_bytes,
    ratio_in_turns,
    synchronize,
)

POOLINGS = {'GAP': 'stride', 'GCP_D': 'stride', 'GCP_M': 'max_pool', 'GCP w/o DS': 'none'}
CLASSES = 1000


def build(network: str, pooling: str, classes: int = CLASSES, **options) -> nn.Module:
    """An ``ImageClassifier``, with options of ``GlobalCovariancePooling``; MobileNetV2 has no conv5 to change."""
    if network == 'mobilenet_v2':
        backbone, channels = dict(type='mmpretrain.MobileNetV2'), 1280
    else:
        depth = int(network.removeprefix('resnet'))
        backbone = dict(type='mmgcp.GCPResNet', depth=depth, conv5_downsample=POOLINGS[pooling])
        channels = 512 if depth < 50 else 2048
    if pooling == 'GAP':
        neck, width = MODELS.build(dict(type='mmpretrain.GlobalAveragePooling')), channels
    else:
        neck = MODELS.build(dict(type='mmgcp.GlobalCovariancePooling', in_channels=channels, **options))
        width = neck.out_channels
    return MODELS.build(dict(
        type='mmpretrain.ImageClassifier', backbone=backbone, neck=neck,
        head=dict(type='mmpretrain.LinearClsHead', num_classes=classes, in_channels=width)))


class Step:
    """A training step of a module on a fixed input; a call returns its duration in seconds."""

    def __init__(self, module: nn.Module, args, *shape: int) -> None:
        self.module = module.to(args.device)
        self.module.train()
        if args.channels_last:
            self.module.to(memory_format=torch.channels_last)
        self.x = torch.randn(args.batch, *shape, device=args.device, requires_grad=not isinstance(module, Network))
        self.args = args
        weights = list(self.module.parameters())
        settings = dict(lr=1e-3, momentum=0.9, weight_decay=1e-4, **dict(fused=True) if args.fused_sgd else {})
        self.optimizer = torch.optim.SGD(weights, **settings) if weights else None

    def __call__(self) -> float:
        device = self.args.device
        synchronize(device)
        start = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16) if self.args.amp else nullcontext():
            out = self.module(self.x)
            loss = out if out.dim() == 0 else out.float().square().mean()
        loss.backward()
        if self.optimizer:
            self.optimizer.step()
            self.optimizer.zero_grad()
        self.x.grad = None
        synchronize(device)
        return time.perf_counter() - start


class Network(nn.Module):
    """Cross entropy of a classifier on random labels."""

    def __init__(self, model: nn.Module, args) -> None:
        super().__init__()
        self.model = model
        self.labels = torch.randint(model.head.num_classes, (args.batch, ), device=args.device)

    def forward(self, x):
        logits = self.model.head(self.model.extract_feat(x))
        return nn.functional.cross_entropy(logits.float(), self.labels)


def measure(network: str, args) -> tuple[list, list]:
    """Rows of the two tables."""
    poolings = [p for p in POOLINGS if network != 'mobilenet_v2' or p in ('GAP', 'GCP_D')]
    models = [build(network, pooling) for pooling in poolings]
    steps = [Step(Network(model, args), args, 3, args.size, args.size) for model in models]
    seconds = in_turns(steps, args.repeats)
    rows, parts = [], []
    for pooling, model, step, second in zip(poolings, models, steps, seconds, strict=True):
        name = pooling.replace('GCP_D', 'GCP') if network == 'mobilenet_v2' else pooling
        peak = peak_bytes(step, args.device) / 2**20
        rows.append([network, name, f'{median(second):.3g}', ratio_in_turns(second, seconds[0]), f'{peak:.0f}'])
        if pooling == 'GAP':
            gap_head = Step(model.head.fc, args, model.head.in_channels)
            continue
        with torch.no_grad():
            shape = model.backbone(step.x[:2])[-1].shape[1:]
        pieces = [Step(model.neck.reduction, args, *shape), Step(model.neck.pooling, args, 256, *shape[1:]),
                  Step(model.head.fc, args, model.head.in_channels), gap_head]
        reduction, operator, classifier, before = map(median, in_turns(pieces, 3 * args.repeats))
        extra = [1e3 * (a - b) for a, b in zip(second, seconds[0], strict=True)]
        parts.append([network, name, ' x '.join(map(str, shape)), f'{1e3 * reduction:.1f}', f'{1e3 * operator:.1f}',
                      f'{100 * operator / median(second):.2f} %', f'{1e3 * (classifier - before):.1f}',
                      median_and_range(extra, '.0f')])
    return rows, parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--networks', nargs='+', default=['resnet18', 'resnet50', 'mobilenet_v2'])
    parser.add_argument('--threads', type=int, default=2, help='CPU threads')
    parser.add_argument('--batch', type=int, default=32, help='images')
    parser.add_argument('--size', type=int, default=224, help='pixels a side')
    parser.add_argument('--repeats', type=int, default=3, help='timed repetitions')
    parser.add_argument('--device', type=torch.device, default=torch.device('cpu'))
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast')
    parser.add_argument('--channels-last', action='store_true', help='channels-last memory format')
    parser.add_argument('--fused-sgd', action='store_true', help='SGD in one pass over the weights (torch >= 2.4)')
    add_save_option(parser)
    args = parser.parse_args()
    needs_device(parser, args.device)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(f'{"bfloat16 autocast" if args.amp else "float32"}, batch {args.batch}, {args.size} px, {args.device}, '
          f'{args.threads} threads, {"fused " if args.fused_sgd else ""}SGD, torch {torch.__version__}, '
          f'medians of {args.repeats}\n', flush=True)
    rows, parts = [], []
    for network in args.networks:
        needs_memory(parser, args, lambda args, network=network: Step(
            Network(build(network, 'GCP_M' if network == 'mobilenet_v2' else 'GCP w/o DS'), args), args, 3, args.size,
            args.size))
        new_rows, new_parts = measure(network, args)
        rows += new_rows
        parts += new_parts
        print(f'{network}: done', flush=True)
    tables = Tables('networks', parser, args, apart=['device', 'amp', 'channels_last', 'fused_sgd'])
    tables.show('steps', ['network', 'pooling', 'step (s)', 'times GAP (range of the turns)', 'peak memory (MiB)'],
                rows)
    tables.show('parts', ['network', 'pooling', 'features', 'reduction (ms)', 'operator (ms)', 'operator, of the step',
                          'classifier beyond that of GAP (ms)', 'whole extra (ms, range of the turns)'], parts)


if __name__ == '__main__':
    main()
