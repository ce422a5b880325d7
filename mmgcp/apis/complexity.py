"""Count parameters and FLOPs of the networks of configs, as in MMPretrain's and MMDetection's tables.

A FLOP is a multiply-add, counted by MMEngine's analysis of the traced forward pass. It counts convolutions, matrix
products (including those of the Newton-Schulz steps and of the classifier), batch normalisation, and estimates of
average pooling, resampling and layer normalisation. It does not count activations, sums, max-pooling, the mean and the
scale factors of the covariance, the gathering of its triangle, RoIAlign and non-maximum suppression.

MMPretrain's own ``get_flops.py`` excludes the head. It is included here, because the classifier after covariance
pooling has 32,896 inputs.
"""
import copy
from functools import partial
from typing import NamedTuple

import torch
from mmengine.analysis import FlopAnalyzer
from mmengine.analysis.jit_handles import bmm_flop_jit
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData
from torch import Tensor, nn

# MMEngine does not support baddbmm: count it as the product of its last two arguments.
HANDLES = {'aten::baddbmm': lambda inputs, outputs: bmm_flop_jit(inputs[1:3], outputs)}


class Complexity(NamedTuple):
    """Complexity of a network.

    Attributes:
        parameters (int): Number of learnable parameters, including those of frozen stages.
        flops (int): Multiply-adds for one image of :func:`image_size`.
    """
    parameters: int
    flops: int


def image_size(cfg: Config) -> tuple[int, int]:
    """Read the size of test images from a config.

    Args:
        cfg (Config): Config of a classifier, with cropped test images, or of a detector, whose images are resized
            within a scale and padded. A detector's image fills the scale: 800 x 1333 for COCO, padded to 800 x 1344
            for R-CNN.

    Returns:
        tuple[int, int]: Height and width in pixels.
    """
    pipeline = cfg.test_dataloader.dataset.pipeline
    for transform in pipeline:
        if transform.type == 'CenterCrop':
            size = transform.crop_size
            return (size, size) if isinstance(size, int) else tuple(size)
    long, short = sorted(next(transform.scale for transform in pipeline if 'scale' in transform), reverse=True)
    divisor = cfg.model.data_preprocessor.get('pad_size_divisor', 1)
    return -(-short // divisor) * divisor, -(-long // divisor) * divisor


def network_key(cfg: Config) -> str:
    """Return a text that identifies network and image size, regardless of the initial weights."""
    model = cfg.model.to_dict()
    model['backbone'].pop('init_cfg', None)
    return f'{model} {image_size(cfg)}'


def build_network(cfg: Config) -> nn.Module:
    """Build the network of a config in test mode, without initialising its weights."""
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return MODELS.build(copy.deepcopy(cfg.model)).eval()  # detectors modify their config


def count_parameters(model: nn.Module) -> int:
    """Count the learnable parameters of a network."""
    return sum(parameter.numel() for parameter in model.parameters())


@torch.no_grad()
def complexity(cfg: Config) -> Complexity:
    """Count the parameters and FLOPs of a config's network: the whole classifier, or backbone, neck and heads.

    The forward pass runs on the CPU with zero weights and image, because only shapes matter and the number of boxes
    that detectors select by score is then fixed. Two-stage detectors get the maximal number of proposals in the config
    (1,000) instead of those that survive non-maximum suppression; Mask R-CNN's mask head gets 100 of them, as in
    MMDetection's count.

    Args:
        cfg (Config): Config of a classifier or detector.

    Returns:
        Complexity: Parameters and FLOPs.
    """
    model = build_network(cfg)
    for parameter in model.parameters():
        parameter.zero_()
    size = image_size(cfg)
    if cfg.default_scope == 'mmdet':
        _prepare_detector(model, size)
    analyzer = FlopAnalyzer(model, torch.zeros(1, 3, *size)).set_op_handle(**HANDLES)
    analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return Complexity(count_parameters(model), int(analyzer.total()))


def _prepare_detector(model: nn.Module, size: tuple[int, int]) -> None:
    """Set the image size of a detector and, if it has two stages, its proposals, all the same box."""
    from mmdet.structures import DetDataSample
    sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, batch_input_shape=size))
    model.forward = partial(model.forward, data_samples=[sample])
    if getattr(model, 'with_rpn', False):
        boxes = torch.tensor([[0., 0., 1., 1.]]).expand(model.test_cfg.rpn.max_per_img, 4)

        def propose(cls_scores: list[Tensor], bbox_preds: list[Tensor], **_) -> list[InstanceData]:
            # Adds 0: the trace drops the RPN unless the proposals depend on its outputs.
            return [InstanceData(bboxes=boxes + sum(output.sum() for output in (*cls_scores, *bbox_preds)))]

        model.rpn_head.predict_by_feat = propose
