import pytest
from mmengine.config import Config
from mmpretrain.models import ImageClassifier

from mmgcp.apis.config_data import default_scope, library_of


@pytest.mark.parametrize('scope, kind, library', [
    ('mmpretrain', 'ImageClassifier', 'mmpretrain'), (None, ImageClassifier, 'mmpretrain'),
    ('mmdet', ImageClassifier, 'mmpretrain'), ('mmdet', 'FasterRCNN', 'mmdet'), (None, 'mmdet.FasterRCNN', 'mmdet'),
    (None, 'mmdet.models.detectors.faster_rcnn.FasterRCNN', 'mmdet')])  # as MMEngine writes a class
def test_library_of_the_model(scope, kind, library):
    cfg = Config(dict(default_scope=scope, model=dict(type=kind)))
    assert (library_of(cfg), default_scope(cfg)) == (library, scope or library)


def test_without_a_model():
    assert library_of(Config()) == default_scope(Config()) == 'mmpretrain'


def test_detectors_of_configs_with_python_imports(tmp_path):
    detectors = pytest.importorskip('mmdet.models.detectors')
    (tmp_path / 'lazy.py').write_text('from mmdet.models.detectors import FasterRCNN\n'
                                      'default_scope = None\nmodel = dict(type=FasterRCNN)\n')
    cfg = Config.fromfile(tmp_path / 'lazy.py')
    assert library_of(cfg) == default_scope(cfg) == 'mmdet'
    cfg.model.type = type('Own', (detectors.FasterRCNN, ), {})
    assert library_of(cfg) == 'mmdet'
