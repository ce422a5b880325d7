"""A training step of Faster R-CNN on a covariance-pooled backbone and on an average-pooled one.

    python -m benchmarks.detection [--device cuda] [--batch 2] [--height 800] [--width 1216] [--repeats 5]
                                   [--save results/benchmarks]

Random images and boxes, untrained networks, float32. Prints a Markdown table, which --save also writes as a CSV file.
A step is forward, losses, backward and update. Needs MMDetection.
"""
import argparse
import time
from statistics import median

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope

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
from mmgcp.utils.configs import configs_folder

DETECTORS = {'GAP': 'detection/faster_rcnn_r50_gap.py', 'GCP_M': 'detection/faster_rcnn_r50_gcp_m.py'}


class Step:
    """A training step of a detector; a call returns its duration in seconds."""

    def __init__(self, config: str, args: argparse.Namespace) -> None:
        from mmdet.testing import demo_mm_inputs
        cfg = Config.fromfile(configs_folder() / config)
        cfg.model.backbone.init_cfg = None
        self.model = MODELS.build(cfg.model)
        self.model.init_weights()
        self.model.to(args.device).train()
        self.optim_wrapper = build_optim_wrapper(self.model, cfg.optim_wrapper)
        self.data = demo_mm_inputs(batch_size=args.batch, image_shapes=[(3, args.height, args.width)] * args.batch,
                                   num_items=[8] * args.batch, num_classes=80)
        self.device = args.device

    def __call__(self) -> float:
        synchronize(self.device)
        start = time.perf_counter()
        self.model.train_step(self.data, self.optim_wrapper)
        synchronize(self.device)
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--batch', type=int, default=2, help='images per step')
    parser.add_argument('--height', type=int, default=800, help='pixels')
    parser.add_argument('--width', type=int, default=1216, help='pixels')
    parser.add_argument('--repeats', type=int, default=5, help='timed repetitions')
    parser.add_argument('--threads', type=int, default=2, help='CPU threads')
    parser.add_argument('--device', type=torch.device, default=torch.device('cpu'))
    add_save_option(parser)
    args = parser.parse_args()
    needs_device(parser, args.device)
    try:
        import mmdet  # noqa: F401
    except ImportError:
        parser.error('MMDetection is not installed: see docs/your_project.md')
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    init_default_scope('mmdet')
    MMLogger.get_instance('mmengine', log_level='ERROR')  # do not log the initialisation of each weight
    needs_memory(parser, args, lambda args: Step(DETECTORS['GCP_M'], args))
    steps = [Step(config, args) for config in DETECTORS.values()]
    seconds = in_turns(steps, args.repeats)
    Tables('detection', parser, args, apart=['device']).show(
        'steps', ['Faster R-CNN, R-50-FPN', 'step (s)', 'times GAP (range of the turns)', 'peak memory (MiB)'],
        [[name, f'{median(second):.3g}', ratio_in_turns(second, seconds[0]),
          f'{peak_bytes(step, args.device) / 2**20:.0f}']
         for name, step, second in zip(DETECTORS, steps, seconds, strict=True)])


if __name__ == '__main__':
    main()
