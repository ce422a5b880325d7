"""Predictions of single pictures, compared with the network's own output; weights are random."""
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from PIL import Image

from mmgcp.__main__ import main
from mmgcp.apis.activation_map import activation_map
from mmgcp.apis.prediction import Predictor, pictures_to_write
from mmgcp.utils.configs import configs_folder
from mmgcp.utils.errors import SetupError

CLASSES = [f'kind_{i}' for i in range(12)]
CLASSIFIER = dict(
    default_scope='mmpretrain',
    model=dict(
        type='ImageClassifier',
        backbone=dict(type='mmgcp.GCPResNet', depth=18, stem_channels=8, base_channels=8),
        neck=dict(type='mmgcp.GlobalCovariancePooling', in_channels=64, reduced_channels=8),
        head=dict(type='LinearClsHead', num_classes=12, in_channels=36),
        data_preprocessor=dict(mean=[100, 110, 120], std=[50, 60, 70], to_rgb=True)),
    test_dataloader=dict(dataset=dict(type='CustomDataset', pipeline=[
        dict(type='LoadImageFromFile'), dict(type='CenterCrop', crop_size=96), dict(type='PackInputs')])))


def save_weights(cfg, file, classes=CLASSES):
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    for parameter in model.parameters():  # so that the classes differ
        torch.nn.init.normal_(parameter, std=0.2)
    torch.save(dict(meta=dict(dataset_meta=dict(classes=classes)), state_dict=model.state_dict()), file)
    return model.eval()


def normalised(image):
    return torch.from_numpy((image - np.array([100, 110, 120])) / [50, 60, 70]).float().permute(2, 0, 1)[None]


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    """A folder with config and image, which is red on the left and blue on the right."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', sys.argv)
    Config(CLASSIFIER).dump('config.py')
    pixels = np.zeros((100, 120, 3), np.uint8)
    pixels[:, :60, 0], pixels[:, 60:, 2] = 200, 200
    Image.fromarray(pixels).save('image.png')
    return tmp_path


def test_a_classifier_names_and_draws_what_it_computes(capsys):
    model = save_weights(Config(CLASSIFIER), 'weights.pth')
    inputs = normalised(np.asarray(Image.open('image.png'))[2:98, 12:108])
    scores, labels = model(inputs, mode='tensor')[0].softmax(0).topk(5)
    main(['predict', 'image.png', 'config.py', 'weights.pth', '--out', 'out/drawn.png'])
    printed = capsys.readouterr().out.splitlines()
    printed = printed[printed.index('image.png') + 1:]
    assert printed == [*(f'{score:7.1%}  kind_{label}' for score, label in zip(scores.tolist(), labels, strict=True)),
                       'drawn in out/drawn.png']
    drawn = np.asarray(Image.open('out/drawn.png').convert('RGB')).astype(int)
    # The first panel is the picture, red beside blue; the last has the bars, in the style's blue.
    assert (drawn == [200, 0, 0]).all(2)[:, :drawn.shape[1] // 3].sum() == pytest.approx(
        (drawn == [0, 0, 200]).all(2)[:, :drawn.shape[1] // 3].sum(), rel=0.02)
    assert (drawn == [0, 0x72, 0xB2]).all(2).any()


def test_the_map_that_is_drawn_is_that_of_the_best_class(monkeypatch):
    model = save_weights(Config(CLASSIFIER), 'weights.pth')
    drawn = []
    monkeypatch.setattr('mmgcp.apis.prediction.plot_prediction', lambda *arguments: drawn.extend(arguments))
    predictor = Predictor(Config.fromfile('config.py'), 'weights.pth')
    predictor.predict('image.png', 'drawn.png')
    image, names, _, shares, _ = drawn
    assert (image == np.asarray(Image.open('image.png'))[2:98, 12:108]).all()
    expected = activation_map(model, normalised(image), CLASSES.index(names[0]))
    torch.testing.assert_close(torch.from_numpy(shares), expected)


def test_without_a_map_the_best_classes_remain():
    cfg = Config(CLASSIFIER)
    cfg.model.neck.method = 'log'
    save_weights(cfg, 'weights.pth', classes=())
    lines = Predictor(cfg, 'weights.pth').predict('image.png', 'drawn.png')
    assert lines[0].partition('%  class ')[2].isdigit() and len(lines) == 6
    assert lines[5] == ("No class-activation map: the score behind method='log' does not divide exactly into shares of "
                        'pixels.')
    assert Image.open('drawn.png').size[0] > 0


def test_a_pipeline_that_cannot_be_built():
    cfg = Config(CLASSIFIER)
    save_weights(cfg, 'weights.pth')
    cfg.test_dataloader.dataset.pipeline[1].type = 'ResizeEdg'
    with pytest.raises(SetupError, match='ResizeEdg is not in the'):
        Predictor(cfg, 'weights.pth')


def test_a_detector_draws_the_boxes_that_mmdet_finds(monkeypatch):
    apis = pytest.importorskip('mmdet.apis')
    cfg = Config.fromfile(configs_folder() / 'quickstart/mask_rcnn_r18_gcp_m_shapes.py')
    cfg.merge_from_dict({'model.backbone.stem_channels': 16, 'model.backbone.base_channels': 16,
                         'model.neck.in_channels': [16, 32, 64, 128]})
    save_weights(cfg, 'weights.pth')
    predictor = Predictor(cfg, 'weights.pth', threshold=0.1)
    predictor.model.cfg = cfg
    found = apis.inference_detector(predictor.model, 'image.png').pred_instances
    found = found[found.scores > 0.1]
    lines = predictor.predict('image.png', 'drawn.png')
    assert len(found) and lines == [
        f'{score:7.1%}  kind_{label} at ' + ', '.join(f'{edge:.0f}' for edge in box)
        for score, label, box in zip(found.scores.tolist(), found.labels.tolist(), found.bboxes.tolist(), strict=True)]
    drawn = np.asarray(Image.open('drawn.png'))
    assert drawn.shape == (100, 120, 3) and (drawn != np.asarray(Image.open('image.png'))).any()
    cfg.default_scope, cfg.model.type = None, type(predictor.model)  # as in configs with Python imports
    assert Predictor(cfg, 'weights.pth', threshold=0.1).predict('image.png', 'drawn.png') == lines
    predictor.threshold = 1
    assert predictor.predict('image.png', 'drawn.png') == ['nothing scores above 1']
    monkeypatch.setattr('mmgcp.apis.prediction.find_spec', lambda name: None)
    with pytest.raises(SetupError, match='the config of a detector, which needs MMDetection: install'):
        Predictor(cfg, 'weights.pth')


@pytest.mark.parametrize('images, out, sentence', [
    (['nowhere.png'], 'out', 'the image nowhere.png does not exist'),
    (['.'], 'out', r'\. is a folder: name the images in it'),
    (['config.py'], 'out', 'the image config.py cannot be read: first come the images, then CONFIG and CHECKPOINT'),
    (['empty.png'], 'out', 'the image empty.png cannot be read'),
    (['image.png'], 'out.jpg', 'out.jpg must end in .png, or be a folder'),
    (['image.png', 'image.png'], 'out.png', 'is one picture, and 2 images are given: name a folder'),
    (['image.png', './image.png'], 'out', 'several images would become out/image.png'),
    (['image.png'], '.', 'image.png is an image to predict: write elsewhere'),
    (['image.png'], '/dev/null/out', 'the folder /dev/null/out cannot be made: Not a directory'),
])
def test_what_cannot_be_read_or_written(images, out, sentence, workplace):
    (workplace / 'empty.png').touch()
    with pytest.raises(SetupError, match=sentence):
        pictures_to_write(images, out)


def test_a_model_of_another_kind():
    cfg = Config({**CLASSIFIER, 'model': CLASSIFIER['model']['neck']})
    save_weights(cfg, 'weights.pth')
    with pytest.raises(SetupError, match='the model is GlobalCovariancePooling: classifiers'):
        Predictor(cfg, 'weights.pth')


def test_a_model_that_finds_no_objects(monkeypatch):
    heads = pytest.importorskip('mmdet.models.seg_heads.panoptic_fusion_heads')
    cfg, model = Config(dict(CLASSIFIER, default_scope='mmdet')), torch.nn.Module()
    cfg.test_dataloader.dataset.pipeline = [dict(type='LoadImageFromFile'), dict(type='PackDetInputs')]
    monkeypatch.setattr('mmgcp.apis.prediction.trained_model', lambda *_: (model, {}))
    init_default_scope('mmdet')
    for settings in ({}, dict(instance_on=False)):
        model.panoptic_fusion_head = heads.MaskFormerFusionHead(test_cfg=Config(settings))
        with pytest.raises(SetupError, match='the model, Module, predicts panoptic segments alone'):
            Predictor(cfg, 'weights.pth')
    model.panoptic_fusion_head.test_cfg.instance_on = True
    Predictor(cfg, 'weights.pth')


@pytest.mark.parametrize('change, sentence', [
    (dict(model=None), 'the config has no model'),
    (dict(test_dataloader=None), 'has no test_dataloader with a pipeline'),
    ({'model.neck.reduced_channels': 4, 'model.head.in_channels': 10}, 'weights.pth does not fit ImageClassifier'),
])
def test_what_cannot_predict(change, sentence):
    save_weights(Config(CLASSIFIER), 'weights.pth')
    cfg = Config(CLASSIFIER)
    cfg.merge_from_dict({key: value for key, value in change.items() if value is not None})
    for key in [key for key, value in change.items() if value is None]:
        cfg.pop(key)
    with pytest.raises(SetupError, match=sentence):
        Predictor(cfg, 'weights.pth')
