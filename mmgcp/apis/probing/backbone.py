"""Build frozen backbones for probes, with all tokens or pixels as their output."""
import copy
import hashlib
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn

from mmgcp.apis.config_data import default_scope
from mmgcp.utils.checkpoint import assert_fits, load_state_dict, named_checkpoints, under_prefix
from mmgcp.utils.errors import SetupError

POINTERS = ('init_cfg', 'pretrained', 'checkpoint_path')  # settings that say where weights come from


class FrozenBackbone(NamedTuple):
    """A backbone that gives unpooled features.

    Attributes:
        model (nn.Module): Classifier without neck and head, for evaluation.
        settings (dict): Settings of the backbone, without those on where its weights come from.
        preprocessor (dict): Settings of the data preprocessor.
        extra_tokens (int): Tokens in front of those of the image, of which the first is the class token; 0 for a map.
    """
    model: nn.Module
    settings: dict
    preprocessor: dict
    extra_tokens: int

    @torch.no_grad()
    def features(self, batch: dict) -> Tensor:
        """Compute the features of a batch: a map (B, C, H, W), or tokens (B, N, C) with the class token first.

        Raises:
            SetupError: If the backbone gives several stages, pooled vectors, or tokens with no known class token.
        """
        features = self.model.backbone(self.model.data_preprocessor(batch)['inputs'])
        stages = features if isinstance(features, tuple) else (features, )
        if len(stages) != 1:
            raise SetupError(f'the backbone gives {len(stages)} stages and probes read one: set --cfg-options '
                             'model.backbone.out_indices to the last alone')
        if stages[0].dim() != (3 if self.extra_tokens else 4):
            raise SetupError(f'the backbone gives features of shape {tuple(stages[0].shape[1:])} per image, and probes '
                             'need a feature map, or the tokens of a backbone with out_type: switch off pooling inside '
                             'the backbone, such as model.backbone.gap_before_final_norm=False')
        return stages[0]

    def weights(self) -> str:
        """Hash all parameters and buffers."""
        digest = hashlib.sha256()
        for name, tensor in self.model.state_dict().items():
            digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def frozen_backbone(cfg: Config, checkpoint: str | None = None) -> FrozenBackbone:
    """Build the backbone of a classifier with its weights, on the GPU if there is one.

    Args:
        cfg (Config): Config of a classifier.
        checkpoint (str, optional): Its checkpoint. Default: ``load_from``, or the weights that the model names.

    Raises:
        SetupError: If the config is not a classifier's, names no weights, or the checkpoint does not fit.
    """
    scope = default_scope(cfg)
    if scope != 'mmpretrain' or 'backbone' not in cfg.get('model', {}):
        raise SetupError(f"probes need the config of a classifier with a backbone, and this one is of scope '{scope}'"
                         f"{'' if 'backbone' in cfg.get('model', {}) else ' without model.backbone'}: give the config "
                         'of MMPretrain that the backbone was trained with')
    init_default_scope('mmpretrain')
    model_cfg, checkpoint = copy.deepcopy(cfg.model.to_dict()), checkpoint or cfg.get('load_from')
    preprocessor = model_cfg.get('data_preprocessor') or dict(cfg.get('data_preprocessor') or {})
    named = {key: model_cfg[key] for key in POINTERS[:2] if model_cfg.get(key)}
    own = named_checkpoints(model_cfg) or [model_cfg['backbone'].get(key) for key in ('pretrained', 'checkpoint_path')]
    if not checkpoint and not any(own):
        raise SetupError('the config names no pre-trained weights, and probes of random features tell nothing: give a '
                         'CHECKPOINT')
    settings = {key: value for key, value in model_cfg['backbone'].items() if key not in POINTERS}
    model = MODELS.build(dict(type='ImageClassifier', backbone=settings if checkpoint else model_cfg['backbone'],
                              data_preprocessor=dict(preprocessor), **({} if checkpoint else named)))
    if checkpoint:
        state_dict = load_state_dict(checkpoint)
        assert_fits(model.backbone, state_dict, checkpoint, 'backbone')
        model.backbone.load_state_dict(under_prefix(state_dict, 'backbone'), strict=False)
    else:
        model.init_weights()
    extra_tokens = 0
    if hasattr(model.backbone, 'out_type'):
        extra_tokens = getattr(model.backbone, 'num_extra_tokens', 0)
        model.backbone.out_type = 'raw' if extra_tokens else 'featmap'
    model.requires_grad_(False).eval().to('cuda' if torch.cuda.is_available() else 'cpu')
    return FrozenBackbone(model, settings, preprocessor, extra_tokens)
