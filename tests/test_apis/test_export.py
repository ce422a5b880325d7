"""Classifiers exported for other runtimes give the scores of the network."""
import json

import pytest
import torch
from mmcv.cnn import ConvModule
from mmengine.config import Config
from mmengine.registry import MODELS
from mmpretrain.models import EfficientNet, ImageClassifier
from torch import nn

import mmgcp.models  # noqa: F401
from mmgcp.apis import export
from mmgcp.apis.complexity import build_network
from mmgcp.apis.export import export_classifier
from mmgcp.apis.with_gcp import find_config, with_gcp
from mmgcp.ops import METHODS
from mmgcp.ops.compat import COMPILES_FUNCTIONS
from mmgcp.utils.configs import configs_folder
from mmgcp.utils.errors import SetupError

SIZE = (64, 64)
VIT = dict(arch=dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=32), img_size=64)
RESNET = dict(stem_channels=8, base_channels=8)
# Settings that shrink the backbones, and the channels that these then have.
NETWORKS = {
    'gcp/resnet18_gcp_m_imagenet': (RESNET, 64),
    'gcp/mobilenetv2_gcp_imagenet': ({}, 1280),
    'gcp/shufflenetv2_gcp_imagenet': ({}, 1024),
    'modern/convnext-tiny_gcp_modern': (dict(arch=dict(depths=[1, 1, 1, 1], channels=[8, 8, 16, 32])), 32),
    'modern/deit-small_isqrt_modern': (VIT, 32),
    'modern/efficientnet-b0_gcp_modern': ({}, 320),
    'modern/regnetx-400mf_gcp_modern': ({}, 384),
    'modern/swin-tiny_gcp_modern': (dict(
        arch=dict(embed_dims=8, depths=[1, 1, 1, 2], num_heads=[1, 1, 1, 1]), img_size=64, window_size=2), 64),
    'modern/vit-base_cls_modern': (VIT, 32),
}
# ONNX holds what torch.export captures: the latter's own file needs no test of each.
PROGRAMS = ('modern/deit-small_isqrt_modern', 'modern/convnext-tiny_gcp_modern')
FORMATS = [(name, suffix) for name in NETWORKS for suffix in ('.onnx', '.pt', '.pt2')
           if suffix != '.pt2' or COMPILES_FUNCTIONS and name in PROGRAMS]


def small(name, monkeypatch):
    monkeypatch.setitem(EfficientNet.arch_settings, 'b0', (0.25, 0.1, 224))
    cfg = Config.fromfile(configs_folder() / f'{name}.py')
    backbone, channels = NETWORKS[name]
    cfg.model.backbone.update(backbone)
    cfg.model.head.update(num_classes=5, in_channels=channels)
    if 'in_channels' in (cfg.model.get('neck') or {}):
        cfg.model.neck.update(in_channels=channels, reduced_channels=16)
        cfg.model.head.in_channels = 136
    if 'first_channels' in cfg.model.head:
        cfg.model.head.first_channels = channels
    return varied(build_network(cfg))


def varied(model):
    """A network of at most two blocks in a row, with statistics for which its scores depend on the image."""
    for module in list(model.backbone.modules()):
        if isinstance(module, nn.Sequential) and not isinstance(module[-1], ConvModule):
            if len(module) > 2 and len(set(map(type, module))) == 1:
                del module[2:]
        elif isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        model.train()(torch.randn(8, 3, *SIZE))
    return model.eval()


class Patches(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 16, 8, stride=8)

    def forward(self, images):
        return (self.layer(images), )


def pooled(**neck):
    neck = MODELS.build(dict(in_channels=16, **neck))
    return ImageClassifier(Patches(), neck, dict(type='LinearClsHead', num_classes=5, in_channels=neck.out_channels))


def pooled_by_covariance(**settings):
    return pooled(type='mmgcp.GlobalCovariancePooling', reduced_channels=8, **settings).eval()


def scores_of(path, images):
    if path.suffix == '.onnx':
        onnxruntime = pytest.importorskip('onnxruntime')
        return torch.from_numpy(onnxruntime.InferenceSession(path).run(None, dict(images=images.numpy()))[0])
    return (torch.jit.load(path) if path.suffix == '.pt' else torch.export.load(path).module())(images)


def check(model, path, **settings):
    difference = export_classifier(model, path, SIZE, **settings)
    images = torch.randn(4, 3, *SIZE)
    with torch.no_grad():
        expected = model(images)
        assert expected.std(0).mean() > 0.01 * expected.abs().max()
        for batch in (images, images[:1]):
            torch.testing.assert_close(scores_of(path, batch), model(batch), rtol=1e-3, atol=1e-5)
    assert difference < 1e-4 * expected.abs().max()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize('name, suffix', FORMATS)
def test_scores(name, suffix, tmp_path, monkeypatch):
    check(small(name, monkeypatch), tmp_path / f'network{suffix}')


def test_a_network_made_by_with_gcp(tmp_path):
    cfg = Config.fromfile(find_config('mmpretrain::mlp-mixer-base-p16_64xb64_in1k')[1])
    cfg.model.backbone.update(img_size=64, arch=dict(embed_dims=48, num_layers=2, tokens_mlp_dims=8,
                                                     channels_mlp_dims=48))
    cfg.model.head.update(in_channels=48, num_classes=5)
    cfg.test_dataloader.dataset.pipeline = [dict(type='CenterCrop', crop_size=SIZE)]
    check(varied(build_network(with_gcp(cfg, 'signed_power', 16).cfg)), tmp_path / 'network.onnx')


@pytest.mark.parametrize('neck', [dict(type='mmgcp.MomentPooling', channels=32), dict(type='mmgcp.AttentivePooling')])
def test_probes(neck, tmp_path):
    check(varied(pooled(**neck)), tmp_path / 'network.onnx')


FACTORISING = [dict(method=name) for name, method in METHODS.items() if method.factorises] + [dict(heads=2)]


@pytest.mark.parametrize('neck', FACTORISING)
def test_factorisations_are_in_programs_alone(neck, tmp_path):
    model = varied(pooled_by_covariance(**neck))
    for suffix, name in (('.onnx', 'ONNX'), ('.pt', 'TorchScript')):
        with pytest.raises(SetupError, match=f'neck.pooling with .* computes .*, which {name} cannot hold: .* .pt2'):
            export_classifier(model, tmp_path / f'network{suffix}', SIZE)
    if COMPILES_FUNCTIONS and neck in (dict(method='eigh'), dict(heads=2)):
        check(model, tmp_path / 'network.pt2')


@pytest.mark.parametrize('suffix, channels', [
    ('.onnx', 'RGB'), ('.pt', 'RGB'), ('.pt', 'BGR'), *([('.pt2', 'RGB')] if COMPILES_FUNCTIONS else [])])
def test_preprocessing_is_in_the_file(suffix, channels, tmp_path):
    model = pooled_by_covariance()
    model.data_preprocessor = MODELS.build(dict(
        type='ClsDataPreprocessor', mean=[1, 2, 3], std=[4, 5, 6], to_rgb=channels == 'RGB'))
    path = tmp_path / f'network{suffix}'
    export_classifier(model, path, (32, 64), ['a', 'b', 'c', 'd', 'e'])
    expected = dict(mean=[1, 2, 3], std=[4, 5, 6], channels=channels, size=[32, 64], classes=['a', 'b', 'c', 'd', 'e'])
    files = {'preprocessing.json': ''}
    if suffix == '.onnx':
        onnx = pytest.importorskip('onnx')
        found = {entry.key: json.loads(entry.value) for entry in onnx.load(path).metadata_props}
    else:
        if suffix == '.pt':
            torch.jit.load(path, _extra_files=files)
        else:
            torch.export.load(path, extra_files=files)
        found = json.loads(files['preprocessing.json'])
    assert {key: found[key] for key in expected} == expected


class BatchInShape(Patches):
    def forward(self, images):
        return super().forward(images.reshape(int(len(images)), 3, *SIZE))


class BatchInValues(Patches):
    def forward(self, images):
        return super().forward(images * float(len(images)))


@pytest.mark.parametrize('backbone, suffix, message', [
    (BatchInShape, '.pt', 'would take batches of 2 images alone'),
    (BatchInValues, '.pt', 'scores from the exported network differ by up to'),
    *([(BatchInShape, '.onnx', 'would take batches of 2 images alone')] if COMPILES_FUNCTIONS else [])])
def test_networks_that_use_the_number_of_images(backbone, suffix, message, tmp_path):
    model = pooled_by_covariance()
    model.backbone = backbone()
    with pytest.raises(SetupError, match=message):
        export_classifier(model, tmp_path / f'network{suffix}', SIZE)
    assert not list(tmp_path.iterdir())


def test_packages_that_onnx_needs(tmp_path, monkeypatch):
    monkeypatch.setattr(export, 'find_spec', lambda name: name != 'onnxruntime')
    with pytest.raises(SetupError, match='packages that are not installed: pip install onnxruntime$'):
        export_classifier(pooled_by_covariance(), tmp_path / 'network.onnx', SIZE)


def test_refusals(tmp_path):
    model = pooled_by_covariance()
    (tmp_path / 'network.pt').touch()
    for bad, file, message in (
            (model, 'network.pth', r'the format of .*network.pth is unknown: .* \.onnx \(ONNX\), \.pt2'),
            (model, 'network.pt', 'network.pt exists: delete it, or write another file'),
            (nn.Linear(1, 1), 'new.onnx', 'the model is Linear, no classifier'),
            (ImageClassifier(model.backbone), 'new.pt', 'the network returns no scores')):
        with pytest.raises(SetupError, match=message):
            export_classifier(bad, tmp_path / file, SIZE)
    if not COMPILES_FUNCTIONS:
        with pytest.raises(SetupError, match='before torch 2.7: export as .onnx or .pt'):
            export_classifier(model, tmp_path / 'new.pt2', SIZE)
        with pytest.raises(SetupError, match='is in ONNX from torch 2.7 on: export as .pt'):
            export_classifier(pooled_by_covariance(method='compact_bilinear'), tmp_path / 'new.onnx', SIZE)
    assert [file.name for file in tmp_path.iterdir()] == ['network.pt']
