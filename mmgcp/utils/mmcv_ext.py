"""Replacement of ``mmcv._ext``, mmcv's compiled operators, by torchvision's operators with mmcv's signatures.

=========================================  ==============================================================
operator of mmcv                           computed by
=========================================  ==============================================================
``nms``                                    ``torchvision.ops.nms``
``softnms``                                PyTorch, below, as torchvision has none
``roi_align_{forward,backward}``           ``torchvision.ops.roi_align`` and its gradient (average pooling)
``roi_pool_{forward,backward}``            ``torchvision.ops.roi_pool`` and its gradient, one call per bin
``deform_conv_*``                          ``torchvision.ops.deform_conv2d`` and its gradient
``modulated_deform_conv_*``                the same, with a mask
``sigmoid_focal_loss_{forward,backward}``  ``torchvision.ops.sigmoid_focal_loss``
``ms_deform_attn_{forward,backward}``      mmcv's own PyTorch version
=========================================  ==============================================================

All other names exist, so that ``mmcv.ops`` can be imported, and raise an error with a remedy when called.

Functions have the names and arguments of mmcv's C++ functions, in the same order, needed or not; most write their
results into given tensors. 16-bit inputs are computed in float32, as torchvision's CPU operators lack bfloat16.
:mod:`mmgcp.utils.mmcv_operators` decides when this module is used.
"""
# ruff: noqa: D103 - the table above documents the operators
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NoReturn

import torch
import torchvision
from torch import Tensor

from .errors import SetupError
from .mmcv_operators import compile_command

_ops = torch.ops.torchvision
MANY = 2048  # number of boxes from which splitting them into disjoint groups saves time
# mmcv's names of torchvision's last arguments, in their order.
GEOMETRY = ('dH', 'dW', 'padH', 'padW', 'dilationH', 'dilationW', 'group', 'deformable_group')
MODULATED_GEOMETRY = ('stride_h', 'stride_w', 'pad_h', 'pad_w', 'dilation_h', 'dilation_w', 'group', 'deformable_group')


def __getattr__(name: str) -> Callable[..., NoReturn]:
    if name.startswith('__'):  # module attributes of Python
        raise AttributeError(name)
    return partial(_fail, name)


def _fail(name: str, *args: Any, **kwargs: Any) -> NoReturn:
    raise SetupError(f'mmcv is installed without compiled operators and torchvision has no {name}: to compile them, '
                     f'run: {compile_command()}')


def get_compiler_version() -> str:
    return f'torchvision {torchvision.__version__}'


def get_compiling_cuda_version() -> str:
    return torch.version.cuda or 'none'


def nms(boxes, scores, iou_threshold, offset) -> Tensor:
    boxes, scores = _extended(_wide(boxes), offset), _wide(scores)
    suppress = partial(torchvision.ops.nms, iou_threshold=torch.tensor(iou_threshold).item())  # mmcv has it in float32
    scores = scores.to(boxes.dtype)
    if boxes.is_cuda or len(boxes) < MANY:
        return suppress(boxes, scores)
    kept = [group[suppress(boxes[group], scores[group])] for group in _apart(boxes)]
    kept = torch.cat(kept).sort().values  # equal scores in the order of the boxes, as without groups
    return kept[scores[kept].argsort(descending=True, stable=True)]


def _extended(boxes: Tensor, offset: int) -> Tensor:
    """Extend boxes to lengths ``x2 - x1 + offset``, as mmcv computes them."""
    return boxes + offset * boxes.new_tensor([0, 0, 1, 1])


def _apart(boxes: Tensor, least: int = 256) -> list[Tensor]:
    """Return indices of groups of boxes that are disjoint along x, each of about ``least`` boxes or more.

    ``batched_nms`` shifts the boxes of each level or class to a separate place. The time of NMS grows with the square
    of the number of boxes, so that separate groups are faster.
    """
    order = boxes[:, 0].argsort()
    starts = 1 + (boxes[order[1:], 0] > boxes[order, 2].cummax(0).values[:-1]).nonzero().flatten()
    first_of_many = (starts // least).diff(prepend=starts.new_zeros(1)) > 0
    return [group.sort().values for group in order.tensor_split(starts[first_of_many])]


def softnms(boxes, scores, dets, iou_threshold, sigma, min_score, method, offset) -> Tensor:
    """Soft-NMS (Bodla et al., ICCV 2017): lower the scores of boxes that overlap a better one.

    Method 0 drops boxes that overlap by the threshold or more, 1 scales their scores linearly, 2 those of all boxes by
    a Gaussian of width ``sigma``. Boxes with equal scores are processed in the order that results from mmcv's swaps.
    The first K rows of ``dets`` (N, 5) become boxes and new scores; returned are the K indices.
    """
    left, scores = torch.arange(len(boxes), device=boxes.device), scores.clone()
    extended, kept = _extended(boxes, offset), []
    while len(left):
        best = scores[left].argmax()
        kept.append(left[best].item())
        left[best] = left[0]
        dets[len(kept) - 1] = torch.cat([boxes[kept[-1]], scores[kept[-1], None]])
        left = left[1:]
        # nan_to_num: two boxes of size zero
        overlap = torchvision.ops.box_iou(extended[kept[-1:]], extended[left])[0].nan_to_num(0)
        if method == 2:
            scores[left] *= torch.exp(-overlap**2 / sigma)
        else:
            scores[left] *= torch.where(overlap >= iou_threshold, 1 - overlap if method else 0., 1.)
        left = _without(left, scores[left] < min_score)
    return torch.tensor(kept, dtype=torch.long, device=boxes.device)


def _without(values: Tensor, dropped: Tensor) -> Tensor:
    """Drop values, moving the last values to their places."""
    count = len(values) - int(dropped.sum())
    values[:count][dropped[:count]] = values[count:][~dropped[count:]].flip(0)
    return values[:count]


def roi_align_forward(input, rois, output, argmax_y, argmax_x, aligned_height, aligned_width, spatial_scale,
                      sampling_ratio, pool_mode, aligned) -> None:
    if pool_mode == 0:
        _fail("RoIAlign with pool_mode='max'")
    input = _wide(input)
    _in_threads(lambda part: _ops.roi_align(input, part, spatial_scale, aligned_height, aligned_width, sampling_ratio,
                                            aligned), rois.to(input.dtype), output, dim=0)


def roi_align_backward(grad_output, rois, argmax_y, argmax_x, grad_input, aligned_height, aligned_width, spatial_scale,
                       sampling_ratio, pool_mode, aligned) -> None:
    grad_output = _wide(grad_output)
    rois = rois.to(grad_output.dtype)
    batch, _, height, width = grad_input.shape
    _in_threads(lambda part: _ops._roi_align_backward(
        part.contiguous(), rois, spatial_scale, aligned_height, aligned_width, batch, part.shape[1], height, width,
        sampling_ratio, aligned), grad_output, grad_input, dim=1)


def roi_pool_forward(input, rois, output, argmax, pooled_height, pooled_width, spatial_scale) -> None:
    bins, empty = _bins(rois, input.shape[-2:], pooled_height, pooled_width, spatial_scale)
    input = _wide(input)
    values, indices = _ops.roi_pool(input, bins.to(input.dtype), 1., 1, 1)
    output.copy_(_of_rois(values.masked_fill(empty, 0), output))
    argmax.copy_(_of_rois(indices.masked_fill(empty, -1), output))


def roi_pool_backward(grad_output, rois, argmax, grad_input, pooled_height, pooled_width, spatial_scale) -> None:
    bins, _ = _bins(rois, grad_input.shape[-2:], pooled_height, pooled_width, spatial_scale)
    # torchvision ignores the strides of the indices.
    grads, indices = (t.permute(0, 2, 3, 1).reshape(len(bins), t.shape[1], 1, 1).contiguous()
                      for t in (_wide(grad_output), argmax))
    grad_input.copy_(_ops._roi_pool_backward(grads, bins.to(grads.dtype), indices, 1., 1, 1, *grad_input.shape))


def _bins(rois: Tensor, size: tuple[int, int], height: int, width: int, scale: float) -> tuple[Tensor, Tensor]:
    """Cells under each bin of each RoI as RoIs, (N height width, 5), and a mask of empty bins, (..., 1, 1, 1).

    torchvision rounds a RoI to whole cells before dividing it into bins, as in Fast R-CNN; mmcv divides first and takes
    all cells that a bin touches. Both agree on bins of whole cells.
    """
    start, end = _wide(rois[:, 1:3]) * scale, (_wide(rois[:, 3:]) + 1) * scale
    step = (end - start) / start.new_tensor([width, height])
    x, y = torch.arange(width, device=rois.device), torch.arange(height, device=rois.device)
    index = torch.stack(torch.meshgrid(x, y, indexing='xy'), -1).flatten(0, 1)  # (height width, 2)
    limits = start.new_tensor([size[1], size[0]])
    first = (index * step[:, None] + start[:, None]).floor().clamp(min=0).minimum(limits)
    last = ((index + 1) * step[:, None] + start[:, None]).ceil().clamp(min=0).minimum(limits) - 1
    empty = (last < first).any(-1) | (end <= start).any(-1)[:, None]
    # torchvision pools at least one cell, which must be in the map; the result of empty bins is masked.
    first, last = (cells.masked_fill(empty[..., None], 0) for cells in (first, last))
    image = rois[:, None, :1].to(first).expand(-1, len(index), 1)
    return torch.cat([image, first, last], -1).flatten(0, 1), empty.reshape(-1, 1, 1, 1)


def _of_rois(bins: Tensor, output: Tensor) -> Tensor:
    n, channels, height, width = output.shape
    return bins.reshape(n, height, width, channels).permute(0, 3, 1, 2)


def deform_conv_forward(input, weight, offset, output, columns, ones, **settings) -> None:
    output.copy_(_deform(_ops.deform_conv2d, input, weight, offset, **settings))


def deform_conv_backward_input(input, offset, grad_output, grad_input, grad_offset, weight, columns,
                               **settings) -> None:
    grads = _deform(_ops._deform_conv2d_backward, grad_output, input, weight, offset, **settings)
    grad_input.copy_(grads[0])
    grad_offset.copy_(grads[2])


def deform_conv_backward_parameters(input, offset, grad_output, grad_weight, columns, ones, scale, **settings) -> None:
    weight = grad_weight  # mmcv passes no weights, and their gradient does not depend on their values
    grad_weight.copy_(scale * _deform(_ops._deform_conv2d_backward, grad_output, input, weight, offset, **settings)[1])


def modulated_deform_conv_forward(input, weight, bias, ones, offset, mask, output, columns, with_bias,
                                  **settings) -> None:
    bias = bias if with_bias else None
    output.copy_(_deform(_ops.deform_conv2d, input, weight, offset, mask=mask, bias=bias, **settings))


def modulated_deform_conv_backward(input, weight, bias, ones, offset, mask, columns, grad_input, grad_weight, grad_bias,
                                   grad_offset, grad_mask, grad_output, with_bias, **settings) -> None:
    bias = bias if with_bias else None
    grads = _deform(_ops._deform_conv2d_backward, grad_output, input, weight, offset, mask=mask, bias=bias, **settings)
    targets = (grad_input, grad_weight, grad_offset, grad_mask, grad_bias)[:5 if with_bias else 4]
    for target, grad in zip(targets, grads, strict=False):
        target.copy_(grad)


def _deform(operator, *tensors, mask=None, bias=None, **settings):
    *tensors, input, weight, offset = map(_wide, tensors)  # the first, if any, is the gradient of the output
    modulation = input.new_zeros(len(input), 1) if mask is None else _wide(mask)
    bias = input.new_zeros(len(weight)) if bias is None else _wide(bias)
    geometry = [settings[name] for name in (GEOMETRY if mask is None else MODULATED_GEOMETRY)]
    return operator(*tensors, input, weight, offset, modulation, bias, *geometry, mask is not None)


def sigmoid_focal_loss_forward(input, target, weight, output, gamma, alpha) -> None:
    output.copy_(_focal_loss(_wide(input), target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(input, target, weight, grad_input, gamma, alpha) -> None:
    grad_input.copy_(*_gradients(lambda x: _focal_loss(x, target, weight, gamma, alpha).sum(), [_wide(input)]))


def _focal_loss(input, target, weight, gamma, alpha):
    is_class = (target[:, None] == torch.arange(input.shape[1], device=target.device)).to(input.dtype)
    loss = torchvision.ops.sigmoid_focal_loss(input, is_class, alpha, gamma)
    return loss * weight[target, None] if len(weight) else loss


def ms_deform_attn_forward(value, value_spatial_shapes, value_level_start_index, sampling_locations, attention_weights,
                           im2col_step) -> Tensor:
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch
    return multi_scale_deformable_attn_pytorch(value, value_spatial_shapes, sampling_locations, attention_weights)


def ms_deform_attn_backward(value, value_spatial_shapes, value_level_start_index, sampling_locations, attention_weights,
                            grad_output, grad_value, grad_sampling_loc, grad_attn_weight, im2col_step) -> None:
    def function(value, *others):
        return ms_deform_attn_forward(value, value_spatial_shapes, value_level_start_index, *others, im2col_step)

    grads = _gradients(function, [value, sampling_locations, attention_weights], grad_output)
    for target, grad in zip((grad_value, grad_sampling_loc, grad_attn_weight), grads, strict=True):
        target.copy_(grad)


def _gradients(function, inputs, grad_output=None):
    with torch.enable_grad():
        inputs = [tensor.detach().requires_grad_() for tensor in inputs]
        output = function(*inputs)
    return torch.autograd.grad(output, inputs, grad_output if grad_output is None else grad_output.view_as(output))


def _in_threads(function: Callable[[Tensor], Tensor], source: Tensor, target: Tensor, dim: int) -> None:
    """Fill ``target`` with ``function(source)``, in threads along ``dim`` on CPUs, where RoIAlign has only one."""

    @torch.no_grad()  # not inherited by new threads
    def fill(part: Tensor, place: Tensor) -> None:
        place.copy_(function(part))

    threads = 1 if source.is_cuda else torch.get_num_threads()
    if threads == 1:
        fill(source, target)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(fill, source.chunk(threads, dim), target.chunk(threads, dim)))


def _wide(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() and tensor.element_size() == 2 else tensor
