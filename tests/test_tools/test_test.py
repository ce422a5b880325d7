"""Settings that tools/test.py changes."""
import pytest
from mmengine.config import Config
from mmengine.evaluator import Evaluator

from mmgcp.utils.errors import SetupError
from tools.test import draw, save

METRIC, OTHER = dict(type='Accuracy'), dict(type='SingleLabelMetric')
CLASSIFIER, DETECTOR = dict(type='ImageClassifier'), dict(type='mmdet.FasterRCNN')


@pytest.mark.parametrize('evaluator, metrics', [
    (None, []), (METRIC, [METRIC]), ([METRIC, OTHER], [METRIC, OTHER]), (dict(metrics=METRIC), [METRIC]),
    (dict(type='Evaluator', metrics=[METRIC, OTHER]), [METRIC, OTHER]), (dict(type=Evaluator, metrics=[]), [])])
def test_predictions_are_saved_beside_the_metrics(evaluator, metrics):
    for model, dump in ((CLASSIFIER, 'DumpResults'), (DETECTOR, 'mmdet.DumpDetResults')):
        cfg = Config(dict(model=model, test_evaluator=evaluator))
        save(cfg, 'x.pkl')
        assert cfg.test_evaluator == [*metrics, dict(type=dump, out_file_path='x.pkl')]


def test_evaluators_that_may_not_compute_further_metrics():
    cfg = Config(dict(test_evaluator=dict(type='mmdet.MultiDatasetsEvaluator', metrics=[METRIC])))
    with pytest.raises(SetupError, match='--out adds a metric, which MultiDatasetsEvaluator may not compute: leave'):
        save(cfg, 'x.pkl')


@pytest.mark.parametrize('model, hook', [
    (CLASSIFIER, dict(type='mmpretrain.VisualizationHook', enable=True, out_dir='x')),
    (DETECTOR, dict(type='mmdet.DetVisualizationHook', draw=True, test_out_dir='x'))])
def test_the_hook_that_draws_is_that_of_the_models_library(model, hook):
    cfg = Config(dict(default_scope=None, model=model))
    draw(cfg, 'x')
    assert cfg.default_hooks == dict(visualization=hook)
