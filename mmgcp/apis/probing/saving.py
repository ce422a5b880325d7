"""Write a trained probe with its backbone as an ordinary classifier."""
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from mmgcp.utils.checkpoint import save_checkpoint

from .backbone import FrozenBackbone
from .training import PROBES, Probe


def save_probe(probe: Probe, backbone: FrozenBackbone, loader: dict, classes: Sequence[str],
               folder: Path) -> tuple[Path, Path]:
    """Write ``probe.py`` and ``probe.pth``, for ``tools/test.py``.

    Args:
        probe (Probe): Trained probe.
        backbone (FrozenBackbone): Backbone whose features it was trained on.
        loader (dict): ``test_dataloader`` of the config.
        classes (Sequence[str]): Names of the classes.
        folder (Path): Where to write.

    Returns:
        tuple[Path, Path]: Config and checkpoint.
    """
    out_type = {}
    if hasattr(backbone.model.backbone, 'out_type'):
        out_type = dict(out_type=PROBES[probe.name] if backbone.extra_tokens else 'featmap')
    cfg = Config(dict(
        default_scope='mmpretrain',
        model=dict(type='ImageClassifier', backbone={**backbone.settings, **out_type}, **probe.layers,
                   data_preprocessor={**backbone.preprocessor, 'num_classes': len(classes)}),
        test_dataloader=loader, test_evaluator=dict(type='Accuracy', topk=(1, )), test_cfg=dict()))
    tensors = {**backbone.model.state_dict(), **probe.state_dict()}
    checkpoint = dict(meta=dict(dataset_meta=dict(classes=list(classes))),
                      state_dict={name: tensor.cpu() for name, tensor in tensors.items()})
    save_checkpoint(checkpoint, folder / 'probe.pth')
    cfg.dump(folder / 'probe.py')
    return folder / 'probe.py', folder / 'probe.pth'
