"""Covariance pooling put into any classifier."""
import copy

import pytest
import torch
from mmengine.config import Config

from mmgcp.apis.complexity import blank_image, build_network, image_size
from mmgcp.apis.launch import load_config
from mmgcp.apis.trainings import _network
from mmgcp.apis.with_gcp import find_config, with_gcp, write_config
from mmgcp.utils.errors import SetupError

from ..families import FAMILIES, read, train_and_evaluate
from ..shortcuts import ROOT, no_initial_weights

VIT = dict(arch=dict(embed_dims=48, num_layers=2, num_heads=2, feedforward_channels=48), img_size=64)
RESNET = dict(stem_channels=8, base_channels=8)
# Smaller backbones, for images of 64 pixels.
SMALL = {
    **dict.fromkeys(('barlowtwins', 'byol', 'densecl', 'mocov2', 'simclr', 'simsiam', 'swav', 'seresnet', 'resnest',
                     'resnet', 'resnext', 'csra', 'wrn'), RESNET),
    **dict.fromkeys(('beit', 'beitv2', 'cae', 'clip', 'deit', 'deit3', 'eva', 'eva02', 'mae', 'maskfeat', 'mff',
                     'milan', 'revvit', 'vision_transformer'), VIT),
    **dict.fromkeys(('hivit', 'mocov3', 't2t_vit', 'tnt'), dict(img_size=64)),
    **dict.fromkeys(('davit', 'swin_transformer', 'swin_transformer_v2'), dict(window_size=2)),
    'convmixer': dict(arch=dict(embed_dims=32, depth=2, patch_size=14, kernel_size=3)),
    'levit': dict(img_size=128),
    'mlp_mixer': dict(img_size=64, arch=dict(embed_dims=48, num_layers=2, tokens_mlp_dims=8, channels_mlp_dims=48)),
    'replknet': dict(arch=dict(large_kernel_sizes=[5, 5, 5, 5], layers=[1, 1, 1, 1], channels=[16, 16, 32, 32],
                               small_kernel=3, dw_ratio=1)),
    'repmlp': dict(img_size=64, reparam_conv_kernels=(1, ),
                   arch=dict(channels=[16, 16, 16, 16], depths=[1, 1, 1, 1], sharesets_nums=[1, 4, 8, 8])),
    'simmim': dict(arch=dict(embed_dims=16, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1]), img_size=64,
                   stage_cfgs=dict(block_cfgs=dict(window_size=2))),
    'tinyvit': dict(img_size=(64, 64)),
}
SIZES = {'efficientformer': 224, 'inception_v3': 96, 'lenet': 32, 'levit': 128, 'mixmim': 224, 'vig': 224}  # if not 64
REFUSED = {
    'arcface': 'the model of the config is ImageToImageRetriever, no classifier',
    'conformer': 'Conformer returns no feature map or tokens but an output of type list',
    'csra': 'the head CSRAClsHead is no linear classifier',
    'inception_v3': r'InceptionV3 returns no feature map or tokens but an output of shape \(1000,\)',
    'lenet': 'LeNet5.* returns a map of 120 channels, 1 x 1 pixels, and the covariance of one pixel is zero',
    'mixmim': r'MixMIMTransformer returns no feature map or tokens but an output of shape \(1024,\)',
    'tnt': r'TNT returns no feature map or tokens but an output of shape \(384,\)',
}


def resize(cfg, size):
    cfg.test_dataloader.dataset.pipeline = [dict(type='CenterCrop', crop_size=size)]


@pytest.mark.parametrize('family', FAMILIES)
def test_families_train_and_evaluate_or_are_refused(family):
    cfg = read(family)
    if cfg.model.type == 'ImageClassifier':
        cfg.model.backbone.update(SMALL.get(family, {}))
        resize(cfg, SIZES.get(family, 64))
        if family == 'mlp_mixer':  # whose tokens and channels the width of the head tells apart
            cfg.model.head.in_channels = 48
    with no_initial_weights():
        if family in REFUSED:
            with pytest.raises(SetupError, match=REFUSED[family]):
                with_gcp(cfg, reduced_channels=8)
            return
        network = with_gcp(cfg, reduced_channels=8)
    assert train_and_evaluate(network.cfg).neck is not None


def config(name='resnet/resnet18_8xb32_in1k', size=64, **backbone):
    cfg = load_config(str(find_config(f'mmpretrain::{name}')[1]))
    cfg.model.backbone.update(backbone)
    resize(cfg, size)
    return cfg


def test_the_network_is_the_one_by_hand():
    cfg = config(**RESNET)
    given = copy.deepcopy(cfg.to_dict())
    network = with_gcp(cfg, 'power', 16)
    assert cfg.to_dict() == given
    neck = dict(type='mmgcp.GlobalCovariancePooling', in_channels=64, reduced_channels=16, method='power')
    given['model'].update(neck=neck, head=dict(given['model']['head'], in_channels=136))
    assert network.cfg.to_dict() == given
    assert network.findings == [
        'ResNet returns a map of 64 channels, 2 x 2 pixels',
        'GlobalCovariancePooling (power, 64 to 16 channels) replaces GlobalAveragePooling',
        'LinearClsHead remains, and reads 136 numbers']


@pytest.mark.parametrize('channels', [48, 384])
def test_few_channels_are_all_pooled(channels):
    network = with_gcp(config(base_channels=channels // 8))
    assert network.cfg.model.neck.reduced_channels == min(channels, 256)


@pytest.mark.parametrize('name, tokens', [
    ('vision_transformer/vit-base-p16_64xb64_in1k', 16 + 1),
    ('deit/deit-tiny-distilled_4xb256_in1k', 16 + 2),
    ('xcit/xcit-nano-12-p16_8xb128_in1k', 16 + 1),
])
def test_the_class_token_is_classified_too_if_asked(name, tokens):
    network = with_gcp(config(name, **(VIT if 'xcit' not in name else {})), reduced_channels=8, keep_class_token=True)
    assert network.changes['model']['backbone'] == dict(out_type='raw')
    assert f'returns {tokens} tokens of' in network.findings[0]
    model = train_and_evaluate(network.cfg)
    assert model.neck.num_extra_tokens == tokens - 16
    assert model.head.fc_first.in_features == model.neck.reduction.in_channels


@pytest.mark.parametrize('name, small', [
    ('resnet/resnet18_8xb32_in1k', RESNET), ('revvit/revvit-small_8xb256_in1k', VIT)])
def test_a_class_token_that_is_not_there_is_not_kept(name, small):
    with pytest.raises(SetupError, match='has no class token to keep'):
        with_gcp(config(name, **small), keep_class_token=True)


def test_a_class_token_beside_several_labels_is_refused():
    cfg = config('vision_transformer/vit-base-p16_64xb64_in1k', **VIT)
    cfg.model.head = dict(type='MultiLabelLinearClsHead', num_classes=4, in_channels=48)
    with pytest.raises(SetupError, match='MultiLabelLinearClsHead gives an image several labels'):
        with_gcp(cfg, reduced_channels=8, keep_class_token=True)


def test_channels_of_mlp_mixer_are_pooled_and_not_its_tokens():
    """The neck gets them first, and pools the same as from a map of them."""
    cfg = config('mlp_mixer/mlp-mixer-base-p16_64xb64_in1k', **SMALL['mlp_mixer'])
    cfg.model.head.in_channels = 48
    model = build_network(with_gcp(cfg, reduced_channels=8).cfg)
    image = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        tokens, = model.backbone(image)
        assert tokens.shape == (2, 48, 16)
        torch.testing.assert_close(model.extract_feat(image)[0], model.neck(tokens.unflatten(2, (4, 4))))


def test_of_several_stages_the_last_is_pooled():
    network = with_gcp(config(out_indices=(1, 3), **RESNET), reduced_channels=8)
    assert network.cfg.model.backbone.out_indices == [3]
    train_and_evaluate(network.cfg)


def test_no_weights_are_loaded():
    config_of_lora = config('vision_transformer/vit-base-p16_8xb64-lora_in1k-384px')
    config_of_lora.model.backbone.module.update(VIT, init_cfg=dict(type='Pretrained', checkpoint='nowhere.pth'))
    network = with_gcp(config_of_lora, reduced_channels=8)
    assert network.changes['model']['backbone'] == dict(module=dict(out_type='featmap'))


@pytest.mark.parametrize('change, sentence', [
    (dict(neck=dict(type='mmgcp.GlobalCovariancePooling', in_channels=64)), 'pools by covariance already'),
    (dict(head=None), 'the model of the config has no head'),
    (dict(type='TimmClassifier'), 'the model of the config is TimmClassifier, no classifier'),
    (dict(head=dict(type='MultiTaskHead', in_channels=64, task_heads=dict(
        a=dict(type='LinearClsHead', num_classes=2), b=dict(type='LinearClsHead', num_classes=2)))),
     'the head MultiTaskHead is no linear classifier'),
    (dict(backbone=dict(type='HRNet', arch='w18')), 'HRNet returns 4 feature maps, and covariance pooling takes one'),
    (dict(backbone=dict(type='ResNet', depth=18, strides=(2, 2, 2, 4))), '1 x 1 pixels, and the covariance of one'),
    (dict(backbone=dict(type='MlpMixer', img_size=64, arch=dict(SMALL['mlp_mixer']['arch'], embed_dims=16))),
     'MlpMixer returns as many tokens as channels, 16, so that their order is unknown'),
    (dict(head=dict(type='LinearClsHead', num_classes=10, in_channels=2)),
     r'ResNet returns a map of \(512, 2, 2\) whose channels come last'),
    (dict(backbone=dict(type='ResNet', depth=19)), 'ResNet cannot be built from the config: .* depth 19'),
    (dict(backbone=dict(type='ResNet', depth=18, in_channels=1)), r'ResNet cannot be run on an image of \(3, 64, '),
    (dict(backbone=dict(type='Resnet')), 'Resnet cannot be built from the config: KeyError'),
    (dict(head=dict(type='LinearHead')), 'LinearHead cannot be built from the config: KeyError'),
])
def test_what_cannot_be_pooled_is_refused(change, sentence):
    cfg = config()
    for part, settings in change.items():
        cfg.model[part] = settings
    with pytest.raises(SetupError, match=sentence):
        with_gcp(cfg)


def test_detectors_and_segmentors_are_refused():
    pytest.importorskip('mmdet')
    segmentor = Config(dict(default_scope='mmseg', model=dict(type='EncoderDecoder')))
    for cfg in (load_config(str(find_config('mmgcp::faster_rcnn_r50_gcp_m')[1])), segmentor):
        with pytest.raises(SetupError, match=f'the model of the config is {cfg.model.type}, no classifier'):
            with_gcp(cfg)


@pytest.mark.parametrize('name, kind', [
    ('resnet/resnet50_8xb32-mixup_in1k', 'MultiLabelLinearClsHead'),  # as before
    ('efficientformer/efficientformer-l1_8xb128_in1k', 'LinearClsHead'),  # MMPretrain cannot train two heads
    ('mobilenet_v3/mobilenet-v3-small-050_8xb128_in1k', 'LinearClsHead'),
    ('vgg/vgg16_8xb16_voc', 'MultiLabelLinearClsHead'),
])
def test_heads_become_one_linear_layer_with_the_same_loss(name, kind):
    cfg = config(name, size=224)
    model = with_gcp(cfg, reduced_channels=8).cfg.model
    assert model.head.type == kind
    assert (model.head.get('loss'), model.head.in_channels) == (cfg.model.head.get('loss'), 36)
    assert model.head.num_classes == cfg.model.head.get('num_classes', cfg.model.backbone.get('num_classes'))


@pytest.mark.parametrize('settings, sentence', [
    (dict(reduced_channels=1000), 'reduced_channels=1000 is more than the 64 channels of ResNet'),
    (dict(reduced_channels=0), 'reduced_channels=0 must be an integer of at least 1'),
    (dict(method='sqrtm'), "method='sqrtm' is unknown: choose one of"),
])
def test_settings_that_do_not_fit_are_refused(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        with_gcp(config(**RESNET), **settings)


@pytest.mark.parametrize('backbone, head', [
    (dict(type='ResNet', depth=18, **RESNET), dict(type='ArcFaceClsHead', num_classes=10, in_channels=64)),
    (dict(type='AlexNet', num_classes=10), dict(type='ClsHead')),
])
def test_other_classifiers_train_and_evaluate(backbone, head):
    cfg = config(size=128)
    cfg.model.backbone, cfg.model.head = backbone, head
    train_and_evaluate(with_gcp(cfg, reduced_channels=8).cfg)


@pytest.mark.parametrize('transform, size', [
    (dict(type='CenterCrop', crop_size=(96, 64)), (64, 96)),  # MMCV's has the width first
    (dict(type='RandomResizedCrop', crop_size=(96, 64)), (96, 64)),
    (dict(type='Resize', scale=32), (32, 32)),
])
def test_image_size(transform, size):
    cfg = config()
    cfg.test_dataloader.dataset = dict(type='RepeatDataset', dataset=dict(pipeline=[transform]))
    assert image_size(cfg) == size


def test_image_size_of_untransformed_test_images_is_that_of_training():
    cfg = load_config(str(find_config('mmpretrain::resnet18_8xb16_cifar10')[1]))
    assert image_size(cfg) == (32, 32)
    assert with_gcp(cfg).findings[0].endswith('a map of 512 channels, 4 x 4 pixels')
    cfg.pop('train_dataloader')
    with pytest.raises(SetupError, match='the size of the images is unknown'):
        with_gcp(cfg)


def test_gray_images_have_one_channel():
    cfg = load_config(str(find_config('mmpretrain::lenet5_mnist')[1]))
    assert blank_image(cfg).shape == (1, 1, 32, 32)


NAMES = ['mmpretrain::resnet/resnet18_8xb32_in1k.py', 'mmpretrain::resnet18_8xb32_in1k',
         'mmgcp::gap/resnet18_gap_imagenet.py', 'mmgcp::resnet18_gap_imagenet', 'own/mine.py']


@pytest.mark.parametrize('name', NAMES)
def test_a_written_config_works_elsewhere_and_is_inherited(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'own').mkdir()
    (tmp_path / 'own/mine.py').write_text("_base_ = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'\n")
    base, path = find_config(name)
    network = with_gcp(load_config(str(path)), reduced_channels=16)
    assert base == {**dict.fromkeys(NAMES[:2], NAMES[0]), **dict.fromkeys(NAMES[2:4], NAMES[2])}.get(
        name, str(tmp_path / name))
    write_config(base, network.changes, 'written.py')
    (tmp_path / 'a/b').mkdir(parents=True)
    (tmp_path / 'written.py').rename(tmp_path / 'a/b/moved.py')
    (tmp_path / 'a/heir.py').write_text("_base_ = 'b/moved.py'\nmodel = dict(head=dict(num_classes=10))\n")
    monkeypatch.chdir('/')
    moved, heir = (load_config(str(tmp_path / file)) for file in ('a/b/moved.py', 'a/heir.py'))
    assert build_network(moved).state_dict().keys() == build_network(network.cfg).state_dict().keys()
    assert moved.model.neck.to_dict() == network.cfg.model.neck.to_dict()
    assert moved.optim_wrapper.optimizer.lr == network.cfg.optim_wrapper.optimizer.lr
    assert (heir.model.head.in_channels, heir.model.head.num_classes) == (136, 10)


@pytest.mark.parametrize('name, sentence', [
    ('mmpretrain::resnet18_8xb32_in1', r'mmpretrain has no config resnet18_8xb32_in1; the nearest name is resnet/resn'),
    ('mmgcp::/gap/resnet18_gap_imagenet.py', r'mmgcp has no config /gap/resnet18_gap_imagenet.py; the nearest name is'),
    ('mmgcp::a**b', r'mmgcp has no config a\*\*b$'),
    ('mmpretrain::resnet50_8xb512-linear-coslr-90e_in1k', r'has 4 configs .*: name one of byol/benchmarks/resnet50'),
    ('timm::resnet18', 'of the package timm, which is neither mmpretrain nor mmgcp'),
    ('nowhere.py', 'the config nowhere.py does not exist'),
])
def test_configs_that_cannot_be_found(name, sentence):
    with pytest.raises(SetupError, match=sentence):
        find_config(name)


def test_configs_that_import_types_are_changed_but_not_inherited(tmp_path):
    file = tmp_path / 'new.py'
    file.write_text("""
from mmpretrain.datasets import CenterCrop
from mmpretrain.models import GlobalAveragePooling, ImageClassifier, LinearClsHead, ResNet
model = dict(
    type=ImageClassifier, backbone=dict(type=ResNet, depth=18, base_channels=8, stem_channels=8),
    neck=dict(type=GlobalAveragePooling), head=dict(type=LinearClsHead, num_classes=10, in_channels=64))
test_dataloader = dict(dataset=dict(pipeline=[dict(type=CenterCrop, crop_size=64)]))
""")
    network = with_gcp(Config.fromfile(str(file)), reduced_channels=8)
    assert network.findings[1].endswith('replaces GlobalAveragePooling')
    assert build_network(network.cfg)(torch.rand(2, 3, 64, 64)).shape == (2, 10)
    with pytest.raises(SetupError, match='has Python imports'):
        find_config(str(file))


def test_configs_with_bases_of_the_other_kind_cannot_be_read(tmp_path):
    """MMPretrain's replknet-31B is one."""
    (tmp_path / 'base.py').write_text('from mmpretrain.models import ResNet\n')
    (tmp_path / 'heir.py').write_text("_base_ = 'base.py'\n")
    with pytest.raises(SetupError, match='heir.py, or one of its bases, cannot be read: RuntimeError'):
        load_config(str(tmp_path / 'heir.py'))


@pytest.mark.parametrize('file, sentence', [('there.py', 'there.py exists: delete it'), ('it', 'must be a .py file')])
def test_files_that_cannot_be_written(file, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'there.py').write_text('')
    with pytest.raises(SetupError, match=sentence):
        write_config('mmpretrain::resnet/resnet18_8xb32_in1k.py', {}, file)


def test_the_text_of_a_config(tmp_path):
    network = with_gcp(config('hrnet/hrnet-w18_4xb32_in1k'), reduced_channels=8)
    write_config('mmpretrain::hrnet/hrnet-w18_4xb32_in1k.py', network.changes, str(tmp_path / 'hrnet.py'))
    assert (tmp_path / 'hrnet.py').read_text() == '''\
# hrnet-w18_4xb32_in1k with covariance pooling.
_base_ = 'mmpretrain::hrnet/hrnet-w18_4xb32_in1k.py'
model = dict(
    neck=[dict(type='HRFuseScales', in_channels=(18, 36, 72, 144)), dict(type='mmgcp.GlobalCovariancePooling', \
in_channels=2048, reduced_channels=8)],
    head=dict(in_channels=36))
'''
    model = load_config(str(tmp_path / 'hrnet.py')).model
    assert model.neck == network.cfg.model.neck
    assert _network(model) == ('HRNet-w18', 'GCP')


def test_the_table_of_families():
    """It has a row for each family, which says whether it works."""
    rows = [line.split(' | ') for line in (ROOT / 'docs/any_classifier.md').read_text().splitlines()
            if line.count(' | ') == 4 and '`' in line]
    assert {row[0][2:]: (row[1].strip('`'), row[-1].startswith('yes')) for row in rows} == {
        family: (name, family not in REFUSED) for family, name in FAMILIES.items()}
