"""torchvision's operators against mmcv's compiled ones, in an environment where mmcv has them: values and time.

    python -m benchmarks.mmcv_operators [--data-root data/coco] [--images 4] [--repeats 9] [--threads 2]
                                        [--device cuda] [--save results/benchmarks]

Prints Markdown tables: the largest differences on random boxes and features, those of the losses, gradients and
detections of Faster and Mask R-CNN on the first photos of COCO's validation set, and the time at the sizes of an
R-50-FPN. ``MMGCP_MMCV=compiled bash tools/setup_env.sh`` builds such an environment.
"""
import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger
from mmengine.registry import DATASETS, MODELS, init_default_scope
from torch import Tensor

from benchmarks.measure import Tables, add_save_option, synchronize
from mmgcp.utils import mmcv_ext
from mmgcp.utils.configs import configs_folder
from mmgcp.utils.mmcv_operators import are_compiled, compile_command

DETECTORS = {'Faster R-CNN': 'detection/faster_rcnn_r50_gcp_m.py', 'Mask R-CNN': 'detection/mask_rcnn_r50_gcp_m.py'}
# Height and width of 800 x 1216 pixels on the levels of an FPN, with the RoIs that each gets when training two images.
LEVELS = {4: ((200, 304), 700), 8: ((100, 152), 200), 16: ((50, 76), 90), 32: ((25, 38), 34)}


@contextmanager
def served_by(module: ModuleType) -> Iterator[None]:
    """Let ``mmcv.ops`` call the operators of a module."""
    users = [m for name, m in sys.modules.items() if name.startswith('mmcv.ops.') and hasattr(m, 'ext_module')]
    before = [user.ext_module for user in users]
    try:
        for user in users:
            user.ext_module = module
        yield
    finally:
        for user, ext_module in zip(users, before, strict=True):
            user.ext_module = ext_module


def random_boxes(count: int, side: float, device: torch.device) -> Tensor:
    """Corners of boxes in a square, some of size zero, some partly outside."""
    corners = torch.rand(count, 2, 2, device=device) * 1.2 * side - 0.1 * side
    corners[::17, 1] = corners[::17, 0]
    return torch.cat([corners.amin(1), corners.amax(1)], 1)


def cases(device: torch.device) -> dict[str, Callable[[], list[Tensor]]]:
    """Functions that return values and gradients of an operator, by the names of the operators."""
    from mmcv import ops
    boxes, scores = random_boxes(500, 60, device), torch.rand(500, device=device)
    rois = torch.cat([torch.arange(500, device=device)[:, None] % 2, boxes], 1)
    x = torch.randn(2, 16, 40, 50, device=device)
    weight = torch.randn(8, 16, 3, 3, device=device)
    offset, mask = torch.randn(2, 18, 40, 50, device=device), torch.rand(2, 9, 40, 50, device=device)

    def with_gradients(function, *inputs):
        inputs = [t.clone().requires_grad_() for t in inputs]
        out = function(*inputs)
        torch.manual_seed(0)
        return [out, *torch.autograd.grad(out, inputs, torch.randn_like(out))]

    found = {f'NMS, offset {offset}': partial(ops.nms, boxes, scores, 0.3, offset) for offset in (0, 1)}
    sized = (boxes[:, :2] < boxes[:, 2:]).all(1)  # compiled soft-NMS gives NaN for two boxes of size zero
    found |= {f'soft-NMS, {method}': partial(ops.soft_nms, boxes[sized], scores[sized], method=method)
              for method in ('naive', 'linear', 'gaussian')}
    found |= {
        f'RoIAlign, {"aligned" if aligned else "not aligned"}, ' + (f'{ratio} samples' if ratio else 'all samples'):
        partial(with_gradients, lambda x, a=aligned, r=ratio: ops.roi_align(x, rois, 7, 0.5, r, 'avg', a), x)
        for aligned in (True, False) for ratio in (0, 2)
    }
    found['deformable convolution'] = partial(
        with_gradients, lambda x, offset, w: ops.deform_conv2d(x, offset, w, 1, 1), x, offset, weight)
    found['deformable convolution v2'] = partial(
        with_gradients, lambda x, offset, mask, w, bias: ops.modulated_deform_conv2d(x, offset, mask, w, bias, 1, 1),
        x, offset, mask, weight, weight[:, 0, 0, 0])
    if device.type == 'cuda':
        labels = torch.arange(500, device=device) % 17
        logits = torch.randn(500, 16, device=device)
        found['RoIPool'] = partial(with_gradients, lambda x: ops.roi_pool(x, rois, 7, 0.5), x)
        found['sigmoid focal loss'] = partial(
            with_gradients, lambda t: ops.sigmoid_focal_loss(t, labels, 2., 0.25, None, 'none'), logits)
    return found


class AllButNMS(ModuleType):
    """Compiled operators, but torchvision's NMS: the compiled one orders boxes with equal scores arbitrarily."""

    def __init__(self, compiled: ModuleType) -> None:
        super().__init__('all_but_nms')
        self.compiled = compiled

    def __getattr__(self, name: str) -> Callable:
        return getattr(mmcv_ext if name == 'nms' else self.compiled, name)


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference over the largest value."""
    if ours.shape != theirs.shape:
        return float('inf')
    if not ours.numel():
        return 0.
    return ((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-30)).item()


def compare_operators(args, compiled: ModuleType, tables: Tables) -> None:
    rows = []
    for name, function in cases(args.device).items():
        results = []
        for module in (mmcv_ext, compiled):
            with served_by(module):
                results.append(function())
        value, *gradients = (difference(a.detach().double(), b.detach().double())
                             for a, b in zip(*results, strict=True))
        rows.append([name, f'{value:.1e}', f'{max(gradients):.1e}' if 'NMS' not in name else
                     ('the same boxes' if gradients == [0.] else 'OTHER BOXES')])
    tables.show('differences', ['operator', 'values', 'gradients'], rows)


def photos(cfg: Config, args) -> dict:
    dataset = DATASETS.build(dict(
        cfg.train_dataloader.dataset, data_root=args.data_root, ann_file=f'annotations/instances_{args.split}.json',
        data_prefix=dict(img=f'{args.split}/'), indices=args.images, filter_cfg=None))
    return pseudo_collate([dataset[i] for i in range(len(dataset))])


def compare_detectors(args, compiled: ModuleType, tables: Tables) -> None:
    init_default_scope('mmdet')
    MMLogger.get_instance('mmengine', log_level='ERROR')  # do not log the initialisation of each weight
    rows = []
    for name, config in DETECTORS.items():
        cfg = Config.fromfile(configs_folder() / config)
        cfg.model.backbone.init_cfg = None
        cfg.model.test_cfg.rcnn.score_thr = 0.01
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
        model.init_weights()
        model.to(args.device)
        data = photos(cfg, args)
        with served_by(mmcv_ext):
            loss, gradient, found = outcome(model, data)
        for label, module in (('all', compiled), ('all but NMS', AllButNMS(compiled))):
            with served_by(module):
                their_loss, their_gradient, theirs = outcome(model, data)
            rows.append([
                name, label, f'{abs(loss - their_loss) / abs(their_loss):.1e}',
                f'{(gradient - their_gradient).norm() / their_gradient.norm():.1e}', f'{len(found)}, {len(theirs)}',
                f'{(found - theirs).abs().max():.1e}' if found.shape == theirs.shape else '-'])
    tables.show('detectors', ['detector', 'compiled', 'difference of the loss', 'of the gradient', 'detections',
                              'largest difference of a box or score'], rows)


def outcome(model: torch.nn.Module, data: dict) -> tuple[float, Tensor, Tensor]:
    """Loss, gradient and detections, a row each with corners and score."""
    torch.manual_seed(0)  # the samplers draw
    model.train()
    losses, _ = model.parse_losses(model(**model.data_preprocessor(data, True), mode='loss'))
    model.zero_grad()
    losses.backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    with torch.no_grad():
        results = model.eval()(**model.data_preprocessor(data, False), mode='predict')
    instances = [sample.pred_instances for sample in results]
    return losses.item(), gradient, torch.cat([torch.cat([i.bboxes, i.scores[:, None]], 1) for i in instances])


def timed_cases(device: torch.device) -> dict[str, Callable[[], list[float]]]:
    """Functions that return seconds, at the sizes of Faster and Mask R-CNN with an R-50-FPN."""
    from mmcv import ops

    def nms(*counts):
        """Of boxes in the image, of one level after the other."""
        boxes = random_boxes(sum(counts), 800, device).clamp(0, 800)
        scores = torch.rand(len(boxes), device=device)
        levels = torch.cat([torch.full((count, ), level, device=device) for level, count in enumerate(counts)])
        settings = dict(type='nms', iou_threshold=0.7)
        return partial(timed, device, partial(ops.batched_nms, boxes, scores, levels, settings))

    def roi_align(size, share):
        levels = []
        for stride, (shape, count) in LEVELS.items():
            x = torch.randn(2, 256, *shape, device=device, requires_grad=True)
            boxes = random_boxes(count // share, 20 * stride, device)
            boxes += torch.rand(len(boxes), 2, device=device).repeat(1, 2) * 400
            rois = torch.cat([torch.arange(len(boxes), device=device)[:, None] % 2, boxes], 1)
            levels.append((x, rois, 1 / stride))

        def both():
            outs = [ops.roi_align(x, rois, size, scale, 0, 'avg', True) for x, rois, scale in levels]
            torch.autograd.grad([out.sum() for out in outs], [x for x, *_ in levels])

        return partial(timed, device, both)

    def deform():
        layer = ops.ModulatedDeformConv2dPack(256, 256, 3, padding=1).to(device)
        x = torch.randn(1, 256, 50, 76, device=device)
        return partial(timed, device, lambda: layer(x).sum().backward())

    return {'NMS of 1000 boxes': nms(1000),
            "NMS of the RPN's 8741 boxes on five levels": nms(2000, 2000, 2000, 2000, 741),
            'RoIAlign 7 x 7, 1024 RoIs, forward + backward': roi_align(7, 1),
            'RoIAlign 14 x 14, 256 RoIs, forward + backward': roi_align(14, 4),
            'deformable convolution v2, 256 x 50 x 76, forward + backward': deform()}


def timed(device: torch.device, function: Callable[[], object]) -> float:
    synchronize(device)
    start = time.perf_counter()
    function()
    synchronize(device)
    return time.perf_counter() - start


def compare_times(args, compiled: ModuleType, tables: Tables) -> None:
    rows = []
    for name, function in timed_cases(args.device).items():
        seconds = []
        for _ in range(args.repeats + 1):
            turn = []
            for module in (mmcv_ext, compiled):
                with served_by(module):
                    turn.append(function())
            seconds.append(turn)
        ours, theirs = zip(*seconds[1:], strict=True)  # the first warms up
        ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
        rows.append([name, f'{1e3 * statistics.median(ours):.1f}', f'{1e3 * statistics.median(theirs):.1f}',
                     f'{statistics.median(ratios):.2f}', f'{min(ratios):.2f} to {max(ratios):.2f}'])
    tables.show('times', ['operator', 'torchvision (ms)', 'compiled mmcv (ms)', 'times as fast', 'spread'], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data-root', default='data/coco', help='folder in the layout of COCO')
    parser.add_argument('--split', default='val2017', help='its images: val2017 or train2017')
    parser.add_argument('--images', type=int, default=4, help='photos')
    parser.add_argument('--repeats', type=int, default=9, help='timed repetitions')
    parser.add_argument('--threads', type=int, default=2, help='CPU threads')
    parser.add_argument('--device', type=torch.device, default=torch.device('cpu'))
    add_save_option(parser)
    args = parser.parse_args()
    if not are_compiled():
        sys.exit(f'Stopped: mmcv has no compiled operators to compare with: to compile them, run: {compile_command()}')
    import mmcv._ext as compiled
    import mmcv.ops  # noqa: F401
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    tables = Tables('mmcv_operators', parser, args, apart=['device'])
    compare_operators(args, compiled, tables)
    compare_detectors(args, compiled, tables)
    compare_times(args, compiled, tables)


if __name__ == '__main__':
    main()
