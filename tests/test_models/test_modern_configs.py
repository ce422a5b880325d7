"""Configs of modern networks differ from MMPretrain's in pooling and classifier alone."""
import pytest
from mmengine.config import Config
from mmengine.registry import MODELS

import mmgcp  # noqa: F401
from mmgcp.utils.configs import configs_folder

FOLDER = configs_folder() / 'modern'
FIRST = ('_gap_modern', '_cls_modern')
SECOND_ORDER = sorted(path.stem for path in FOLDER.glob('*.py') if not path.stem.endswith(FIRST))


@pytest.mark.parametrize('name', SECOND_ORDER)
def test_recipe_and_width(name):
    network = name.partition('_')[0]
    first, = (path for path in FOLDER.glob(f'{network}_*.py') if path.stem.endswith(FIRST))
    cfg, other = Config.fromfile(FOLDER / f'{name}.py'), Config.fromfile(first)
    neck = MODELS.build(cfg.model.neck)
    assert neck.out_channels == cfg.model.head.in_channels
    assert cfg.model.head.loss == other.model.head.loss
    width = cfg.model.head.get('first_channels', neck.reduction.in_channels)
    assert width == other.model.head.in_channels == neck.reduction.in_channels
    settings, expected = cfg.to_dict(), other.to_dict()
    for one in (settings, expected):
        for part in ('backbone', 'neck', 'head'):
            one['model'].pop(part, None)
    assert settings == expected
