"""Write a trained probe with its backbone as an ordinary classifier."""
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from mmgcp.utils.checkpoint import save_checkpoint

from .backbone import FrozenBackbone
from .training import PROBES, Probe


def save_probe(probe: Probe, backbone: FrozenBackbone, cfg: Config, loader: dict, classes: Sequence[str],
               folder: Path) -> tuple[Path, Path]:
    """Write config and checkpoint, ``NAME.py`` and ``NAME.pth``, tested on ``loader``; return their paths."""
    out_type = {}
    if hasattr(backbone.model.backbone, 'out_type'):
        out_type = dict(out_type=PROBES[probe.name] if backbone.extra_tokens else 'featmap')
    imports = {'custom_imports': cfg.custom_imports} if 'custom_imports' in cfg else {}
    saved = Config(dict(
        imports, default_scope='mmpretrain',
        model=dict(type='ImageClassifier', backbone={**backbone.settings, **out_type}, **probe.layers,
                   data_preprocessor={**backbone.preprocessor, 'num_classes': len(classes)}),
        test_dataloader=loader, test_evaluator=dict(type='Accuracy', topk=(1, )), test_cfg=dict()))
    tensors = {**backbone.model.state_dict(), **probe.state_dict()}
    checkpoint = dict(meta=dict(dataset_meta=dict(classes=list(classes))),
                      state_dict={name: tensor.cpu() for name, tensor in tensors.items()})
    config, weights = (folder / f'{probe.name}.{ending}' for ending in ('py', 'pth'))
    save_checkpoint(checkpoint, weights)
    saved.dump(config)
    return config, weights
