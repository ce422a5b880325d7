"""Operators of mmcv against their definitions in numpy: torchvision's in their place, and compiled ones if any."""
import itertools
import sys

import numpy as np
import pytest
import torch
import torchvision

from mmgcp.utils import mmcv_ext
from mmgcp.utils.errors import SetupError
from mmgcp.utils.mmcv_operators import are_compiled

ops = pytest.importorskip('mmcv.ops')
HALVES = [torch.float16, torch.bfloat16]
BOXES = {
    'random': lambda rng: random_boxes(rng, 40),
    'ties': lambda rng: np.repeat(random_boxes(rng, 10), 3, 0),
    'none': lambda rng: random_boxes(rng, 0),
    'one': lambda rng: random_boxes(rng, 1),
    'size zero': lambda rng: np.concatenate([random_boxes(rng, 5), random_boxes(rng, 5)[:, [0, 1, 0, 1]]]),
    'outside': lambda rng: np.concatenate([random_boxes(rng, 5) - 40, random_boxes(rng, 5) + 40]),
    'beyond all sides': lambda rng: np.float32([[-5, -7, 60, 50], [-90, -80, 90, 100]]),
    'whole pixels': lambda rng: random_boxes(rng, 20).round(),
}


@pytest.fixture(params=['torchvision', 'compiled'] if are_compiled() else ['torchvision'])
def mmcv_ops(request, monkeypatch):
    """``mmcv.ops`` with torchvision's operators, or with compiled ones if mmcv has them."""
    if request.param == 'torchvision':
        for name, module in list(sys.modules.items()):
            if name.startswith('mmcv.ops.') and hasattr(module, 'ext_module'):
                monkeypatch.setattr(module, 'ext_module', mmcv_ext)
    return ops


def is_compiled(mmcv_ops):
    return mmcv_ops.focal_loss.ext_module is not mmcv_ext


@pytest.fixture
def gpu_ops(mmcv_ops, device):
    """The same for operators that compiled mmcv has for GPUs alone."""
    if is_compiled(mmcv_ops) and device.type == 'cpu':
        pytest.skip('compiled mmcv has this operator on GPUs alone')
    return mmcv_ops


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def random_boxes(rng, count):
    corners = rng.uniform(0, 30, (count, 2, 2))
    return np.concatenate([corners.min(1), corners.max(1)], 1).astype(np.float32)


def scores_of(boxes, rng):
    """Distinct for distinct boxes, the same for equal ones."""
    _, index = np.unique(boxes, axis=0, return_inverse=True)
    return rng.permutation(len(boxes)).astype(np.float32)[index.ravel()] / max(len(boxes), 1)


def overlap(a, b, offset):
    width, height = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]) + np.float32(offset)
    inner = max(width, np.float32(0)) * max(height, np.float32(0))
    areas = [np.prod(box[2:] - box[:2] + np.float32(offset)) for box in (a, b)]
    return inner / (sum(areas) - inner) if inner else np.float32(0)  # 0 / 0 for two boxes of size zero


def nms_by_definition(boxes, scores, threshold, offset):
    kept = []
    for i in np.argsort(-scores, kind='stable'):
        if not any(overlap(boxes[j], boxes[i], offset) > np.float32(threshold) for j in kept):
            kept.append(i)
    return kept


def soft_nms_by_definition(boxes, scores, threshold, sigma, min_score, method, offset):
    """Boxes with their new scores, best first."""
    left, found = [(box, score) for box, score in zip(boxes, scores, strict=True)], []
    while left:
        best = max(range(len(left)), key=lambda i: left[i][1])
        box, score = left.pop(best)
        found.append([*box, score])
        rescored = []
        for other, old in left:
            iou = overlap(box, other, offset)
            factor = {'naive': 0. if iou >= threshold else 1., 'linear': 1 - iou if iou >= threshold else 1.,
                      'gaussian': np.exp(-iou**2 / sigma)}[method]
            if not old * factor < min_score:
                rescored.append((other, old * factor))
        left = rescored
    return np.float32(found).reshape(-1, 5)


def bilinear(y, x, height, width, border):
    """Weights of the pixels (height, width) at a point; ``border`` tells how what lies outside is read."""
    weights = np.zeros((height, width))
    if border == 'roi_align':  # up to one pixel outside: the nearest pixel
        if y < -1 or y > height or x < -1 or x > width:
            return weights
        y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    for i, j in itertools.product((int(np.floor(y)), int(np.floor(y)) + 1), (int(np.floor(x)), int(np.floor(x)) + 1)):
        if 0 <= i < height and 0 <= j < width:
            weights[i, j] += (1 - abs(y - i)) * (1 - abs(x - j))
    return weights


def roi_align_weights(roi, shape, size, scale, ratio, aligned):
    """Weights (size, size, height, width) by which the bins of a RoI average the pixels."""
    x1, y1, x2, y2 = (float(v) * scale - (0.5 if aligned else 0) for v in roi)
    width, height = (x2 - x1, y2 - y1) if aligned else (max(x2 - x1, 1), max(y2 - y1, 1))
    weights = np.zeros((size, size, *shape))
    rows, columns = (ratio or int(np.ceil(length / size)) for length in (height, width))
    for ph, pw, i, j in itertools.product(range(size), range(size), range(rows), range(columns)):
        y, x = y1 + (ph + (i + 0.5) / rows) * height / size, x1 + (pw + (j + 0.5) / columns) * width / size
        weights[ph, pw] += bilinear(y, x, *shape, 'roi_align') / (rows * columns)
    return weights


def with_image(boxes, rng, images):
    return np.concatenate([rng.integers(images, size=(len(boxes), 1)), boxes], 1).astype(np.float32)


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('threshold', [0.3, 0.6, 1.])
@pytest.mark.parametrize('kind', BOXES)
def test_nms(kind, threshold, offset, mmcv_ops, rng, device):
    boxes = BOXES[kind](rng)
    scores = scores_of(boxes, rng)
    found, kept = mmcv_ops.nms(torch.from_numpy(boxes).to(device), torch.from_numpy(scores).to(device), threshold,
                               offset)
    expected = nms_by_definition(boxes, scores, threshold, offset)
    assert kept.dtype == torch.long
    if kind != 'ties' or not is_compiled(mmcv_ops):  # compiled mmcv keeps any one of equal boxes
        assert kept.tolist() == expected
    np.testing.assert_array_equal(found.cpu(), np.concatenate([boxes, scores[:, None]], 1)[expected])


def test_nms_compares_in_single_precision(mmcv_ops, device):
    """An overlap of exactly 3/5, which is above 0.6 in float32 and is not above it when 0.6 is rounded likewise."""
    boxes = torch.tensor([[0., 0, 4, 1], [1, 0, 5, 1]], device=device)
    assert mmcv_ops.nms(boxes, torch.tensor([0.9, 0.8], device=device), 0.6)[1].tolist() == [0, 1]


def test_batched_nms_keeps_classes_apart(mmcv_ops, rng, device):
    boxes, scores, classes = random_boxes(rng, 60), rng.random(60, np.float32), rng.integers(3, size=60)
    found, kept = mmcv_ops.batched_nms(*(torch.from_numpy(a).to(device) for a in (boxes, scores, classes)),
                                       dict(type='nms', iou_threshold=0.3))
    expected = [c[i] for c in (np.flatnonzero(classes == k) for k in range(3))
                for i in nms_by_definition(boxes[c], scores[c], 0.3, 0)]
    assert kept.tolist() == sorted(expected, key=lambda i: -scores[i])


def test_nms_of_many_boxes_is_that_of_groups_that_lie_apart(rng):
    """The same boxes in the same order, equal scores included."""
    boxes = random_boxes(rng, mmcv_ext.MANY) + 35 * rng.integers(5, size=(mmcv_ext.MANY, 1)).astype(np.float32)
    boxes, scores = torch.from_numpy(boxes), torch.from_numpy(rng.integers(50, size=len(boxes)) / 64).float()
    groups = mmcv_ext._apart(boxes)
    assert len(groups) > 2 and sorted(torch.cat(groups).tolist()) == list(range(len(boxes)))
    for one, other in itertools.combinations(groups, 2):
        assert not torchvision.ops.box_iou(boxes[one], boxes[other]).any()
    assert torch.equal(mmcv_ext.nms(boxes, scores, 0.3, 0), torchvision.ops.nms(boxes, scores, 0.3))


@pytest.mark.parametrize('dtype', HALVES)
def test_nms_in_16_bits_is_that_of_the_rounded_boxes(dtype, rng, device):
    boxes, scores = random_boxes(rng, 40), rng.permutation(40).astype(np.float32) / 64
    rounded = torch.from_numpy(boxes).to(device, dtype)
    kept = mmcv_ext.nms(rounded, torch.from_numpy(scores).to(device, dtype), 0.3, 0)
    assert kept.tolist() == nms_by_definition(rounded.float().cpu().numpy(), scores, 0.3, 0)


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
@pytest.mark.parametrize('kind', BOXES)
def test_soft_nms(kind, method, offset, mmcv_ops, rng, device):
    if (kind, method, offset) == ('size zero', 'gaussian', 0) and is_compiled(mmcv_ops):
        pytest.skip('compiled mmcv rescores by 0 / 0, and gives NaN')
    boxes = BOXES[kind](rng)
    scores = scores_of(boxes, rng)
    settings = dict(sigma=0.5, min_score=0.05, method=method, offset=offset)
    found, kept = mmcv_ops.soft_nms(torch.from_numpy(boxes).to(device), torch.from_numpy(scores).to(device), 0.3,
                                    **settings)
    np.testing.assert_allclose(found.cpu(), soft_nms_by_definition(boxes, scores, 0.3, **settings).reshape(-1, 5)
                               if len(boxes) else np.zeros((0, 5)), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(found[:, :4].cpu(), boxes[kept.cpu().numpy()])


@pytest.mark.parametrize('scale, ratio, aligned', [(1., 2, True), (0.5, 0, True), (0.25, 0, False), (2., 1, False)])
@pytest.mark.parametrize('kind', BOXES)
def test_roi_align(kind, scale, ratio, aligned, mmcv_ops, rng, device):
    rois = with_image(BOXES[kind](rng)[:12], rng, images=2)
    x = torch.from_numpy(rng.standard_normal((2, 3, 11, 14), np.float32)).to(device).requires_grad_()
    out = mmcv_ops.roi_align(x, torch.from_numpy(rois).to(device), 4, scale, ratio, 'avg', aligned)
    weights = np.zeros((len(rois), 4, 4, 2, 11, 14))
    for roi, weight in zip(rois, weights, strict=True):
        weight[:, :, int(roi[0])] = roi_align_weights(roi[1:], (11, 14), 4, scale, ratio, aligned)
    np.testing.assert_allclose(out.detach().cpu(), np.einsum('npqihw,ichw->ncpq', weights, x.detach().cpu().numpy()),
                               rtol=1e-4, atol=2e-5)
    grad = rng.standard_normal(out.shape).astype(np.float32)
    out.backward(torch.from_numpy(grad).to(device))
    np.testing.assert_allclose(x.grad.cpu(), np.einsum('npqihw,ncpq->ichw', weights, grad), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize('dtype, autocast', [(torch.float16, False), (torch.bfloat16, False), (torch.bfloat16, True)])
def test_roi_align_in_16_bits_rounds_only_its_ends(dtype, autocast, rng, device):
    rois = torch.from_numpy(with_image(random_boxes(rng, 8), rng, images=2)).to(device)
    x = torch.randn(2, 3, 11, 14, device=device, dtype=dtype, requires_grad=True)
    wide = x.detach().float().requires_grad_()
    with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
        out, expected = stand_in_roi_align(x, rois), stand_in_roi_align(wide, rois)
    grad = torch.randn_like(out)
    out.backward(grad)
    expected.backward(grad.float())
    assert out.dtype == x.grad.dtype == dtype
    assert torch.equal(out, expected.to(dtype)) and torch.equal(x.grad, wide.grad.to(dtype))


def stand_in_roi_align(x, rois):
    class Align(torch.autograd.Function):
        """What mmcv's own function does with the operators."""

        @staticmethod
        def forward(ctx, x):
            out = x.new_zeros(len(rois), x.shape[1], 4, 4)
            mmcv_ext.roi_align_forward(x, rois, out, x.new_zeros(0), x.new_zeros(0), 4, 4, 0.5, 2, 1, True)
            return out

        @staticmethod
        def backward(ctx, grad):
            grad_x = grad.new_zeros(x.shape)
            mmcv_ext.roi_align_backward(grad, rois, x.new_zeros(0), x.new_zeros(0), grad_x, 4, 4, 0.5, 2, 1, True)
            return grad_x

    return Align.apply(x)


def test_roi_align_by_several_threads_is_the_same(rng, monkeypatch):
    for rois in (with_image(random_boxes(rng, 8), rng, images=2), np.zeros((0, 5), np.float32)):
        outcomes = []
        for threads in (1, 3):
            monkeypatch.setattr(torch, 'get_num_threads', lambda threads=threads: threads)
            torch.manual_seed(0)
            x = torch.randn(2, 4, 11, 14, requires_grad=True)
            out = stand_in_roi_align(x, torch.from_numpy(rois))
            out.backward(torch.randn_like(out))
            outcomes.append((out, x.grad))
        assert all(map(torch.equal, *outcomes))


def test_roi_align_reads_any_memory_format(rng, device):
    rois = torch.from_numpy(with_image(random_boxes(rng, 8), rng, images=2)).to(device)
    x = torch.randn(2, 3, 11, 14, device=device)
    laid_out = x.to(memory_format=torch.channels_last)
    assert torch.equal(stand_in_roi_align(laid_out, rois), stand_in_roi_align(x, rois))


@pytest.mark.parametrize('scale', [1., 0.5, 0.3])
@pytest.mark.parametrize('kind', BOXES)
def test_roi_pool(kind, scale, gpu_ops, rng, device):
    """The largest of the pixels that a bin touches, by mmcv's definition: boxes include their last pixel."""
    rois = with_image(BOXES[kind](rng)[:12], rng, images=2)
    x = torch.from_numpy(rng.standard_normal((2, 3, 11, 14), np.float32)).to(device).requires_grad_()
    out = gpu_ops.roi_pool(x, torch.from_numpy(rois).to(device), (4, 3), scale)
    grad = rng.standard_normal(out.shape).astype(np.float32)
    out.backward(torch.from_numpy(grad).to(device))
    values, expected, expected_grad = x.detach().cpu().numpy(), np.zeros(out.shape), np.zeros(x.shape)
    for n, (image, *corners) in enumerate(rois):
        start = np.float32(corners[:2]) * np.float32(scale)
        step = ((np.float32(corners[2:]) + np.float32(1)) * np.float32(scale) - start) / np.float32([3, 4])
        for c, ph, pw in itertools.product(range(3), range(4), range(3)):
            first, last = (np.float32([pw, ph]) + np.float32(i) for i in range(2))
            x1, y1 = np.clip(np.floor(first * step + start), 0, [14, 11]).astype(int)
            x2, y2 = np.clip(np.ceil(last * step + start), 0, [14, 11]).astype(int)
            if x2 > x1 and y2 > y1 and (step > 0).all():
                bin = values[int(image), c, y1:y2, x1:x2]
                expected[n, c, ph, pw] = bin.max()
                i, j = np.unravel_index(bin.argmax(), bin.shape)
                expected_grad[int(image), c, y1 + i, x1 + j] += grad[n, c, ph, pw]
    np.testing.assert_array_equal(out.detach().cpu(), expected.astype(np.float32))
    np.testing.assert_allclose(x.grad.cpu(), expected_grad, rtol=1e-5, atol=1e-6)


def deformed(rng, device, groups, modulated):
    """Input, weights, offsets and masks in float64 of a 2 x 3 convolution with strides, padding and dilation."""
    shapes = dict(x=(2, 4, 6, 7), weight=(6, 4 // groups, 2, 3), offset=(2, 2 * 2 * 6, 4, 4), mask=(2, 2 * 6, 4, 4),
                  bias=(6, ))
    tensors = {name: torch.from_numpy(rng.standard_normal(shape)).to(device).requires_grad_()
               for name, shape in shapes.items()}
    return list(tensors.values()) if modulated else list(tensors.values())[:3]


def convolve(mmcv_ops, x, weight, offset, mask=None, bias=None, groups=1):
    geometry = (2, (1, 2), (1, 2), groups, 2)
    if mask is None:
        return mmcv_ops.deform_conv2d(x, offset, weight, *geometry)
    return mmcv_ops.modulated_deform_conv2d(x, offset, mask, weight, bias, *geometry)


@pytest.mark.parametrize('groups', [1, 2])
@pytest.mark.parametrize('modulated', [False, True])
def test_deformable_convolution(modulated, groups, mmcv_ops, rng, device):
    tensors = deformed(rng, device, groups, modulated)
    out = convolve(mmcv_ops, *tensors, groups=groups)
    x, weight, offset, *rest = (t.detach().cpu().numpy() for t in tensors)
    mask, bias = rest if modulated else (np.ones((2, 12, 4, 4)), np.zeros(6))
    expected = np.broadcast_to(bias[:, None, None], out.shape).copy()
    for n, h, w, ky, kx, d in itertools.product(range(2), range(4), range(4), range(2), range(3), range(2)):
        k = ky * 3 + kx
        y_offset, x_offset = offset[n, 12 * d + 2 * k:12 * d + 2 * k + 2, h, w]
        point = bilinear(2 * h - 1 + ky * 1 + y_offset, 2 * w - 2 + kx * 2 + x_offset, 6, 7, 'zero')
        for c in (2 * d, 2 * d + 1):  # channels of the deformation group
            value = (point * x[n, c]).sum() * mask[n, 6 * d + k, h, w]
            size = 6 // groups
            group = c // (4 // groups)
            expected[n, group * size:(group + 1) * size, h, w] += weight[
                group * size:(group + 1) * size, c % (4 // groups), ky, kx] * value
    np.testing.assert_allclose(out.detach().cpu(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('modulated', [False, True])
def test_gradients_of_deformable_convolution(modulated, mmcv_ops, rng, device):
    tensors = deformed(rng, device, 2, modulated)
    assert torch.autograd.gradcheck(lambda *t: convolve(mmcv_ops, *t, groups=2), tensors, fast_mode=True)


def test_deformable_convolution_without_bias(mmcv_ops, rng, device):
    x, weight, offset, mask, _ = deformed(rng, device, 1, True)
    out = convolve(mmcv_ops, x, weight, offset, mask)
    torch.testing.assert_close(out, convolve(mmcv_ops, x, weight, offset, mask, torch.zeros_like(weight[:, 0, 0, 0])))
    out.sum().backward()
    assert weight.grad.abs().sum() > 0


@pytest.mark.parametrize('gamma, alpha', [(2., 0.25), (1.5, 0.6), (0., 0.5)])
@pytest.mark.parametrize('reduction', ['none', 'mean', 'sum'])
@pytest.mark.parametrize('weighted', [False, True])
def test_sigmoid_focal_loss(gamma, alpha, reduction, weighted, gpu_ops, rng, device):
    x = rng.standard_normal((7, 3)) * 3
    target = np.array([0, 1, 2, 2, 1, 0, 0]) if weighted else np.array([0, 1, 2, 3, 3, 0, 1])  # 3 is the background
    weight = rng.random(3) if weighted else None
    p, positive = 1 / (1 + np.exp(-x)), target[:, None] == np.arange(3)
    loss = np.where(positive, -alpha * (1 - p)**gamma * np.log(p), -(1 - alpha) * p**gamma * np.log(1 - p))
    slope = np.where(positive, -alpha * (1 - p)**gamma * (1 - p - gamma * p * np.log(p)),
                     -(1 - alpha) * p**gamma * (gamma * (1 - p) * np.log(1 - p) - p))
    if weighted:
        loss, slope = loss * weight[target, None], slope * weight[target, None]
    leaf = torch.tensor(x, device=device, requires_grad=True)
    of_class = None if weight is None else torch.tensor(weight, device=device)
    out = gpu_ops.sigmoid_focal_loss(leaf, torch.from_numpy(target).to(device), gamma, alpha, of_class, reduction)
    expected = dict(none=loss, mean=loss.sum() / 7, sum=loss.sum())[reduction]
    np.testing.assert_allclose(out.detach().cpu(), expected, rtol=1e-10)
    out.backward(torch.ones_like(out))
    np.testing.assert_allclose(leaf.grad.cpu(), slope / (7 if reduction == 'mean' else 1), rtol=1e-10, atol=1e-14)


def test_multi_scale_deformable_attention(gpu_ops, rng, device):
    shapes, heads, width, points = [(4, 5), (2, 3)], 2, 3, 2
    value = rng.standard_normal((2, 26, heads, width))
    locations, weights = rng.uniform(-0.2, 1.2, (2, 5, heads, 2, points, 2)), rng.random((2, 5, heads, 2, points))
    expected = np.zeros((2, 5, heads, width))
    for n, q, m, level, p in np.ndindex(weights.shape):
        height, columns = shapes[level]
        x, y = locations[n, q, m, level, p] * [columns, height] - 0.5
        pixels = value[n, 20 * level:, m][:height * columns].reshape(height, columns, width)
        expected[n, q, m] += weights[n, q, m, level, p] * np.einsum(
            'hw,hwd->d', bilinear(y, x, height, columns, 'zero'), pixels)
    tensors = [torch.from_numpy(a).to(device).requires_grad_() for a in (value, locations, weights)]

    def attend(value, locations, weights):
        return gpu_ops.multi_scale_deform_attn.MultiScaleDeformableAttnFunction.apply(
            value, torch.tensor(shapes, device=device), torch.tensor([0, 20], device=device), locations, weights, 64)

    np.testing.assert_allclose(attend(*tensors).detach().cpu(), expected.reshape(2, 5, -1), rtol=1e-9, atol=1e-12)
    assert torch.autograd.gradcheck(attend, tensors, fast_mode=True)


@pytest.mark.parametrize('call', [lambda: mmcv_ext.carafe_forward(1, kernel=2), lambda: mmcv_ext.nms_rotated()])
def test_what_torchvision_lacks_says_so_when_called(call):
    with pytest.raises(SetupError, match='^mmcv is installed without compiled operators and torchvision has no '
                                         '(carafe_forward|nms_rotated): to compile them, run: MMCV_WITH_OPS=1 pip '):
        call()


def test_pooling_the_largest_in_roi_align_says_so(rng):
    with pytest.raises(SetupError, match="torchvision has no RoIAlign with pool_mode='max'"):
        mmcv_ext.roi_align_forward(*[torch.zeros(1)] * 5, 1, 1, 1., 0, 0, True)
