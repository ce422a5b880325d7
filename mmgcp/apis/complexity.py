"""Count parameters and FLOPs of the networks of configs, as in MMPretrain's and MMDetection's tables.

A FLOP is a multiply-add, counted by MMEngine's analysis of the traced forward pass. It counts convolutions, matrix
products (including those of the Newton-Schulz steps and of the classifier), batch normalisation, and estimates of
average pooling, resampling and layer normalisation. It does not count activations, sums, max-pooling, the mean and the
scale factors of the covariance, the gathering of its triangle, RoIAlign and non-maximum suppression.

MMPretrain's ``get_flops.py`` excludes the head, included here: after covariance pooling it has 32,896 inputs.
"""
import copy
from functools import partial
from typing import NamedTuple

import torch
from mmengine.analysis import FlopAnalyzer, parameter_count
from mmengine.analysis.jit_handles import bmm_flop_jit
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmgcp.utils.errors import SetupError

from .config_data import datasets, default_scope, kind, library_of

# MMEngine does not support baddbmm: count it as the product of its last two arguments.
HANDLES = {'aten::baddbmm': lambda inputs, outputs: bmm_flop_jit(inputs[1:3], outputs)}


class Complexity(NamedTuple):
    """Learnable parameters, including those of frozen stages, and multiply-adds for one image of :func:`image_size`."""
    parameters: int
    flops: int


def image_size(cfg: Config) -> tuple[int, int]:
    """Read the size of test images, height and width in pixels, from a config.

    A classifier's images are cropped or resized, in the training pipeline if not in that of testing. A detector's are
    resized within a scale, which they are assumed to fill, and padded: 800 x 1333 for COCO, 800 x 1344 for R-CNN.

    Raises:
        SetupError: If no transform of a classifier sets the size.
    """
    if library_of(cfg) == 'mmdet':
        pipeline = cfg.test_dataloader.dataset.pipeline
        long, short = sorted(next(transform.scale for transform in pipeline if 'scale' in transform), reverse=True)
        divisor = cfg.model.data_preprocessor.get('pad_size_divisor', 1)
        return -(-short // divisor) * divisor, -(-long // divisor) * divisor
    for _, dataset in datasets(cfg, ('test', 'val', 'train')):
        for transform in reversed(dataset.get('pipeline', ())):
            size = transform.get('crop_size') or transform.get('scale')
            if size and kind(transform) != 'ResizeEdge':  # which leaves the other edge open
                if isinstance(size, int):
                    return size, size
                # MMCV's transforms have the width first, those of MMPretrain the height.
                return tuple(reversed(size)) if kind(transform) in ('Resize', 'CenterCrop') else tuple(size)
    raise SetupError("the size of the images is unknown: no transform of the config's pipelines crops or resizes them")


def blank_image(cfg: Config) -> Tensor:
    """Return an image of zeros, (1, C, H, W), for the network of a config."""
    preprocessor = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
    return torch.zeros(1, len(preprocessor.get('mean') or range(3)), *image_size(cfg))


def without_weights(part: dict | list) -> dict | list:
    """Return a part of a config, without the settings that make a network load weights when it is built."""
    if isinstance(part, dict):
        return ConfigDict({key: without_weights(value) for key, value in part.items()
                           if key not in ('init_cfg', 'pretrained')})
    return [without_weights(value) for value in part] if isinstance(part, list) else copy.deepcopy(part)


def scope_of(cfg: Config) -> DefaultScope:
    """Return a context with the default scope of a config, that of the model's library if it sets none."""
    return DefaultScope.overwrite_default_scope(default_scope(cfg))


def build_network(cfg: Config) -> nn.Module:
    """Build the network of a config in test mode, without initialising its weights."""
    with scope_of(cfg):
        return MODELS.build(without_weights(cfg.model)).eval()


@torch.no_grad()
def complexity(cfg: Config) -> Complexity:
    """Count the parameters and FLOPs of a config's network: the whole classifier, or backbone, neck and heads.

    The forward pass runs on the CPU with zero weights and image, because only shapes matter and the number of boxes
    that detectors select by score is then fixed. Two-stage detectors get the maximal number of proposals in the config
    (1,000) instead of those that survive non-maximum suppression; mask heads get 100 of them, as in MMDetection.

    Examples:
        >>> complexity(Config.fromfile('configs/gap/resnet18_gap_imagenet.py')).parameters
        11689512
    """
    model = build_network(cfg)
    for parameter in model.parameters():
        parameter.zero_()
    image = blank_image(cfg)
    if library_of(cfg) == 'mmdet':
        _prepare_detector(model, tuple(image.shape[2:]))
    analyzer = FlopAnalyzer(model, image).set_op_handle(**HANDLES)
    analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return Complexity(parameter_count(model)[''], int(analyzer.total()))


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
