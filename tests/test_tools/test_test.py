"""Settings that tools/test.py changes."""
import pytest
from mmengine.config import Config

from tools.test import draw

CLASSIFIER, DETECTOR = dict(type='ImageClassifier'), dict(type='mmdet.FasterRCNN')


@pytest.mark.parametrize('model, hook', [
    (CLASSIFIER, dict(type='mmpretrain.VisualizationHook', enable=True, out_dir='x')),
    (DETECTOR, dict(type='mmdet.DetVisualizationHook', draw=True, test_out_dir='x'))])
def test_the_hook_that_draws_is_that_of_the_models_library(model, hook):
    cfg = Config(dict(default_scope=None, model=model))
    draw(cfg, 'x')
    assert cfg.default_hooks == dict(visualization=hook)
