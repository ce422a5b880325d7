import hashlib

import pytest
import torch
import torchvision
from mmengine.hooks import EMAHook
from mmengine.model import ExponentialMovingAverage
from mmpretrain.models.backbones import MobileNetV2, ShuffleNetV2
from torch import nn

from mmgcp.models import GCPResNet
from mmgcp.utils.errors import SetupError
from mmgcp.zoo.publish import publish_backbone, torchvision_backbone

BACKBONES = {
    'resnet18': lambda: GCPResNet(18, 'stride'),
    'resnet50': lambda: GCPResNet(50, 'stride'),
    'mobilenet_v2': MobileNetV2,
    'shufflenet_v2_x1_0': ShuffleNetV2,
}


def randomised(backbone):
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    backbone.eval()
    return backbone


def trained_checkpoint(backbone):
    """What MMEngine's CheckpointHook writes."""
    state_dict = {f'backbone.{name}': value for name, value in backbone.state_dict().items()}
    return dict(
        meta=dict(epoch=3, iter=12, cfg='data_root = "/private"', seed=0, dataset_meta=dict(classes=('disc', 'ring'))),
        state_dict=state_dict | {'neck.reduction.conv.weight': torch.rand(8, 8), 'head.fc.bias': torch.rand(2)},
        optimizer=dict(state={0: dict(momentum_buffer=torch.rand(100000))}, param_groups=[]),
        message_hub=dict(), param_schedulers=[])


@pytest.fixture(scope='module')
def backbone():
    return randomised(GCPResNet(18, 'none', stem_channels=8, base_channels=8))


@pytest.fixture
def checkpoint(backbone, tmp_path):
    path = tmp_path / 'work_dirs/resnet18_gcp_m_imagenet/epoch_3.pth'
    path.parent.mkdir(parents=True)
    torch.save(trained_checkpoint(backbone), path)
    path.with_name('last_checkpoint').write_text(str(path))
    return path


def test_published_backbone_starts_a_detectors_backbone(backbone, checkpoint, tmp_path):
    published, before, after, averaged = publish_backbone(str(checkpoint), str(tmp_path / 'out' / 'r18'))
    assert not averaged
    assert published.parent == tmp_path / 'out'
    assert published.name == f'r18-{hashlib.sha256(published.read_bytes()).hexdigest()[:8]}.pth'
    assert (before, after) == (checkpoint.stat().st_size, published.stat().st_size) and after < before - 400000
    contents = torch.load(published, weights_only=True)
    assert set(contents) == {'meta', 'state_dict'}
    assert set(contents['meta']) == {'dataset_meta', 'epoch', 'mmgcp_version'}
    assert contents['meta']['dataset_meta'] == dict(classes=('disc', 'ring'))
    assert set(contents['state_dict']) == {f'backbone.{name}' for name in backbone.state_dict()}

    target = GCPResNet(18, 'max_pool', stem_channels=8, base_channels=8,
                       init_cfg=dict(type='Pretrained', checkpoint=str(published), prefix='backbone.'))
    target.init_weights()
    assert all(torch.equal(value, backbone.state_dict()[name]) for name, value in target.state_dict().items())


@pytest.mark.parametrize('out', ['r18.pth', 'net-1.0'])
def test_torch_hub_checks_the_hash(out, checkpoint, tmp_path):
    published = publish_backbone(str(checkpoint), str(tmp_path / out)).path

    def load():
        return torch.hub.load_state_dict_from_url(published.as_uri(), str(tmp_path / 'hub'), check_hash=True,
                                                  progress=False)

    with published.open('ab') as file:
        file.write(b'damaged')
    with pytest.raises(RuntimeError, match='invalid hash value'):
        load()
    assert publish_backbone(str(checkpoint), str(tmp_path / out)).path == published
    assert 'backbone.conv1.weight' in load()['state_dict']


def test_folder_and_workdir(checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    by_file = publish_backbone(str(checkpoint), str(tmp_path)).path
    by_name, before, _, _ = publish_backbone('workdir://resnet18_gcp_m_imagenet', 'new/')
    digest = by_file.stem[-8:]
    assert by_file == tmp_path / f'epoch_3-{digest}.pth'
    assert str(by_name) == f'new/resnet18_gcp_m_imagenet-{digest}.pth' and before == checkpoint.stat().st_size
    with pytest.raises(SetupError, match='work_dirs/elsewhere holds no checkpoint'):
        publish_backbone('workdir://elsewhere', 'new/')


def test_averaged_weights_are_published(tmp_path):
    """The checkpoint is as MMEngine's EMAHook leaves it."""
    model = nn.Module()
    model.backbone = nn.Linear(2, 2)
    hook = EMAHook()
    hook.src_model, hook.ema_model = model, ExponentialMovingAverage(model)
    hook.ema_model.module.backbone.weight.data.fill_(7)
    checkpoint = dict(state_dict=model.state_dict())
    hook.before_save_checkpoint(None, checkpoint)
    torch.save(checkpoint, tmp_path / 'ema.pth')
    published = publish_backbone(str(tmp_path / 'ema.pth'), str(tmp_path))
    assert published.averaged
    assert (torch.load(published.path)['state_dict']['backbone.weight'] == 7).all()


def test_shared_storage_is_not_written(tmp_path):
    flat = torch.rand(1000000)
    torch.save(dict(state_dict={'backbone.weight': flat[:10], 'head.weight': flat[10:]}), tmp_path / 'flat.pth')
    published = publish_backbone(str(tmp_path / 'flat.pth'), str(tmp_path))
    assert published.size_after < 10000
    assert torch.equal(torch.load(published.path)['state_dict']['backbone.weight'], flat[:10])


@pytest.mark.parametrize('contents, sentence', [
    (dict(state_dict={'head.fc.weight': torch.rand(2, 2)}), "no backbone: of its 1 tensors none begins with 'ba"),
    (dict(optimizer={}), 'no backbone: of its 0 tensors'),
    (dict(state_dict={'backbone.a': torch.tensor([1., float('nan')])}), 'hold NaN or infinity, a for one'),
    (dict(state_dict={'backbone.weight': torch.ones(2, dtype=torch.int8)}), 'weight in .* is of torch.int8'),
    (dict(state_dict={'backbone.running_var': -torch.ones(2)}), '1 variances of BN in .* are negative'),
])
def test_refusals(contents, sentence, tmp_path):
    path = tmp_path / 'bad.pth'
    torch.save(contents, path)
    with pytest.raises(SetupError, match=sentence):
        publish_backbone(str(path), str(tmp_path))
    with pytest.raises(SetupError, match=sentence):
        torchvision_backbone(contents, 'bad.pth')


def test_a_file_where_the_folder_should_be(checkpoint, tmp_path):
    (tmp_path / 'taken').write_text('')
    with pytest.raises(SetupError, match=r'taken/r18-.*\.pth cannot be written: '):
        publish_backbone(str(checkpoint), str(tmp_path / 'taken' / 'r18'))


@pytest.mark.parametrize('name', BACKBONES)
def test_torchvisions_network_gives_the_same_features(name, device):
    backbone = randomised(BACKBONES[name]())
    state_dict, function = torchvision_backbone(trained_checkpoint(backbone), 'file')
    assert function == name
    network = getattr(torchvision.models, function)(weights=None)
    missing, unexpected = network.load_state_dict(state_dict, strict=False)
    assert unexpected == [] and {key.split('.')[0] for key in missing} <= {'fc', 'classifier'}
    # Without its classifier each of the networks ends in the mean over the pixels.
    if hasattr(network, 'fc'):
        network.fc = nn.Identity()
    else:
        network.classifier = nn.Identity()
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64, device=device)
    with torch.no_grad():
        actual = network.double().to(device).eval()(x)
        features, = backbone.double().to(device)(x)
    expected = features.mean((2, 3))
    assert (actual - expected).abs().max() < 1e-10 * expected.abs().max()


@pytest.mark.parametrize('backbone, sentence', [
    (lambda: MobileNetV2(widen_factor=0.5), r'looks like mobilenet_v2, .* of another shape \(features.0.0.weight'),
    (lambda: ShuffleNetV2(widen_factor=0.5), r'looks like shufflenet_v2_x1_0, .* of another shape'),
    (lambda: GCPResNet(18, 'none', deep_stem=True), r'looks like resnet18, .* missing \(conv1.weight .* surplus'),
    (lambda: nn.Linear(2, 2), r'is not a ResNet, MobileNetV2 or ShuffleNetV2 of torchvision: it begins with weight, '),
])
def test_backbones_that_torchvision_has_not(backbone, sentence):
    with pytest.raises(SetupError, match=f'^the backbone in file {sentence}'):
        torchvision_backbone(trained_checkpoint(backbone()), 'file')
