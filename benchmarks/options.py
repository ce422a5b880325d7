"""One training step of a classifier under each training option, relative to plain float32: time and memory.

    python -m benchmarks.options [--config FILE] [--device cuda] [--batch 32] [--options channels_last bfloat16 ...]
                                 [--save results/benchmarks]

The step is MMEngine's ``model.train_step`` on the network and the optimiser of a config, with random images: scaling of
the images, forward, loss, backward, update of the weights. Every option has its own copy of the network; their steps
alternate. Prints a Markdown table, which --save also writes as a CSV file. ``compile`` is left out unless named: it
compiles for minutes before the first step.
"""
import argparse
import copy
import statistics
import time
from types import SimpleNamespace

import torch
from mmengine.config import Config
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.utils import digit_version
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

from benchmarks.measure import (
    Tables,
    add_save_option,
    in_turns,
    needs_device,
    needs_memory,
    peak_bytes,
    ratio_in_turns,
    synchronize,
)
from mmgcp.engine.hooks import ChannelsLastHook

PARTS = 4  # of a batch whose gradients are accumulated
# What an option changes in `optim_wrapper`; the others are set up in `Step`.
CUDA_WRAPPERS = dict(
    plain={}, channels_last={}, ema={}, accumulation=dict(accumulative_counts=PARTS),
    bfloat16=dict(type='mmgcp.BFloat16OptimWrapper'), fused_sgd=dict(optimizer=dict(fused=True)),
    float16=dict(type='AmpOptimWrapper', loss_scale='dynamic', dtype='float16'), compile={})
NOT_ON_CPU = {'float16'} | ({'fused_sgd'} if digit_version(torch.__version__) < digit_version('2.4') else set())
CPU_WRAPPERS = {option: wrapper for option, wrapper in CUDA_WRAPPERS.items() if option not in NOT_ON_CPU}
NOTES = dict(
    accumulation=f'the same images in {PARTS} parts',
    ema='`ExponentialMovingAverage` after the step')


class Step:
    """A training step of a copy of ``model`` under one option; a call returns its duration in seconds."""

    def __init__(self, option: str, model: nn.Module, optim_wrapper: dict, args: argparse.Namespace) -> None:
        self.model = copy.deepcopy(model).to(args.device).train()
        if option == 'channels_last':
            ChannelsLastHook().before_val(SimpleNamespace(model=self.model))
        self.optim_wrapper = build_optim_wrapper(self.model, optim_wrapper)
        self.average = ExponentialMovingAverage(self.model) if option == 'ema' else None
        if option == 'compile':
            self.model.train_step = torch.compile(self.model.train_step)
        parts = PARTS if option == 'accumulation' else 1
        self.batches = [self._batch(args.batch // parts, args.size, args.device) for _ in range(parts)]
        self.device = args.device
        if option == 'compile':
            for _ in range(2):  # the second step, which has a momentum, is compiled anew
                self()

    def _batch(self, images: int, size: int, device: torch.device) -> dict:
        classes = self.model.head.num_classes
        labels = torch.randint(classes, (images, )).tolist()
        return dict(inputs=torch.randint(256, (images, 3, size, size), dtype=torch.uint8, device=device),
                    data_samples=[DataSample().set_gt_label(label) for label in labels])

    def __call__(self) -> float:
        synchronize(self.device)
        start = time.perf_counter()
        for batch in self.batches:
            self.model.train_step(batch, self.optim_wrapper)
        if self.average:
            self.average.update_parameters(self.model)
        synchronize(self.device)
        return time.perf_counter() - start


def steps(options: list[str], args: argparse.Namespace) -> list[Step]:
    """One :class:`Step` per option, all from the same weights."""
    cfg = Config.fromfile(args.config)
    init_default_scope('mmpretrain')
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    wrappers = CUDA_WRAPPERS if args.device.type == 'cuda' else CPU_WRAPPERS
    measured = []
    for option in options:
        changed = copy.deepcopy(cfg)
        changed.merge_from_dict(dict(optim_wrapper=wrappers[option]))
        measured.append(Step(option, model, changed.optim_wrapper, args))
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', default='configs/gcp/resnet18_gcp_m_imagenet.py', help='config of a classifier')
    parser.add_argument('--options', nargs='+', choices=list(CUDA_WRAPPERS), help='default: all but compile')
    parser.add_argument('--threads', type=int, default=2, help='CPU threads')
    parser.add_argument('--batch', type=int, default=32, help='images')
    parser.add_argument('--size', type=int, default=224, help='pixels a side')
    parser.add_argument('--repeats', type=int, default=3, help='timed repetitions')
    parser.add_argument('--device', type=torch.device, default=torch.device('cpu'))
    add_save_option(parser)
    args = parser.parse_args()
    needs_device(parser, args.device)
    known = CUDA_WRAPPERS if args.device.type == 'cuda' else CPU_WRAPPERS
    options = args.options or [option for option in known if option != 'compile']
    options = ['plain', *(option for option in options if option != 'plain')]
    if args.batch % PARTS:
        parser.error(f'--batch {args.batch} must be a multiple of {PARTS}, which accumulation divides it into')
    if unknown := [option for option in options if option not in known]:
        parser.error(f'torch {torch.__version__} has no {", ".join(unknown)} on {args.device}')
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(f'{args.config}, batch {args.batch}, {args.size} px, {args.device}, {args.threads} threads, '
          f'torch {torch.__version__}, medians of {args.repeats}', flush=True)
    needs_memory(parser, args, lambda args: steps(['plain'], args)[0], few=PARTS)
    measured = steps(options, args)
    seconds = in_turns(measured, args.repeats)
    peaks = [peak_bytes(step, args.device) for step in measured]
    rows = [[option, f'{1e3 * statistics.median(second):.0f}', ratio_in_turns(second, seconds[0]),
             f'{peak / 2**20:.0f}', f'{peak / peaks[0]:.3f}', NOTES.get(option, type(step.optim_wrapper).__name__)]
            for option, step, second, peak in zip(options, measured, seconds, peaks, strict=True)]
    tables = Tables('options', parser, args, apart=['device', 'options'])
    tables.show('steps', ['option', 'step (ms)', 'times plain (range of the turns)', 'peak memory (MiB)', 'times plain',
                          'how'], rows)


if __name__ == '__main__':
    main()
