"""Networks with the tensors of the released files, made from torchvision's, and what they become."""
import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from mmgcp.utils.checkpoint import load_checkpoint
from mmgcp.utils.configs import configs_folder
from mmgcp.utils.errors import SetupError
from mmgcp.zoo import released
from tests.shortcuts import no_initial_weights
from tests.test_ops.reference import isqrt_cov

FUNCTIONS = {**{f'resnet{depth}': f'resnet{depth}' for depth in (18, 34, 50, 101)},
             'mobilenetv2': 'mobilenet_v2', 'shufflenetv2': 'shufflenet_v2_x1_0'}
LAYOUTS = [(arch, reduced) for arch in FUNCTIONS for reduced in (None, 256)] + [('resnet50', 128), ('mobilenetv2', 128)]


def released_network(arch, reduced=None, num_classes=1000):
    """torchvision's network, with the reduction and the classifier of a released one if ``reduced`` is given."""
    network = getattr(torchvision.models, FUNCTIONS[arch])(weights=None, num_classes=num_classes)
    if reduced:
        add_covariance_pooling(network, reduced, num_classes)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    if reduced:
        # Large enough for ReLU6 to cut something, or it would be no different from ReLU.
        bn = network.layer_reduce_bn if arch.startswith('resnet') else network.dimension_reduction[1]
        bn.weight.data.mul_(20)
    return network.eval()


def add_covariance_pooling(network, reduced, num_classes):
    def conv_bn(channels):
        return nn.Conv2d(channels, reduced, 1, bias=False), nn.BatchNorm2d(reduced)

    classifier = nn.Linear(reduced * (reduced + 1) // 2, num_classes)
    if isinstance(network, torchvision.models.ResNet):
        block = network.layer4[0]
        for conv in (block.conv1, block.conv2, block.downsample[0]):
            conv.stride = (1, 1)
        network.layer_reduce, network.layer_reduce_bn = conv_bn(network.fc.in_features)
        network.fc = classifier
    elif isinstance(network, torchvision.models.MobileNetV2):
        network.dimension_reduction = nn.Sequential(*conv_bn(1280), nn.ReLU6())
        network.classifier[1] = classifier
    else:
        network.dimension_reduction = nn.Sequential(*conv_bn(1024), nn.ReLU6())
        network.fc = classifier


def logits_of(network, x):
    """Textbook forward pass."""
    if isinstance(network, torchvision.models.MobileNetV2):
        stages, classifier = [network.features], network.classifier
    elif isinstance(network, torchvision.models.ResNet):
        stages, classifier = [network.conv1, network.bn1, network.relu, network.maxpool, network.layer1,
                              network.layer2, network.layer3, network.layer4], network.fc
    else:
        stages, classifier = [network.conv1, network.maxpool, network.stage2, network.stage3, network.stage4,
                              network.conv5], network.fc
    for stage in stages:
        x = stage(x)
    if hasattr(network, 'layer_reduce'):
        x = network.layer_reduce_bn(network.layer_reduce(x)).relu()
    else:
        assert network.dimension_reduction[:2](x).max() > 6
        x = network.dimension_reduction(x)
    root = isqrt_cov(x)
    rows, columns = torch.triu_indices(*root.shape[1:])
    return classifier(root[:, rows, columns])


def convert(contents, name):
    """What the tool converts, and the layout that it has found."""
    with no_initial_weights():
        return released.convert(contents, name)


def built(found):
    """Network of a layout, to be filled."""
    with no_initial_weights():
        return found.build_model()


def released_file(network, prefix='module.'):
    return dict(epoch=50, arch='resnet', best_acc1=torch.tensor([78.5]), optimizer=dict(state={}, param_groups=[]),
                state_dict={f'{prefix}{name}': value for name, value in network.state_dict().items()})


@pytest.fixture(scope='module')
def resnet18():
    return released_network('resnet18')


@pytest.mark.parametrize('arch, reduced', LAYOUTS)
def test_every_layout_gives_the_logits_of_torchvisions_network(arch, reduced, tmp_path, device):
    # A classifier of 1,000 classes on 32,896 numbers takes longer to draw and to write than all the rest.
    num_classes = 10 if reduced == 256 else 1000
    network = released_network(arch, reduced, num_classes)
    path = tmp_path / 'model_best.pth.tar'
    torch.save(released_file(network), path)
    converted, found = convert(load_checkpoint(str(path)), str(path))
    assert found.config == {None: f'gap/{arch}_gap_imagenet.py', 256: f'gcp/{arch}_gcp_imagenet.py',
                            128: f'gcp/{arch}_gcp_128_imagenet.py'}[reduced]
    assert (found.arch, found.reduced_channels, found.num_classes) == (arch, reduced, num_classes)
    assert found.cfg_options == ({} if num_classes == 1000 else {'model.head.num_classes': 10})
    assert found.dtypes == ()

    model = built(found)
    model.load_state_dict(converted['state_dict'], strict=True)
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64, device=device)
    with torch.no_grad():
        network = network.double().to(device)
        expected = logits_of(network, x) if reduced else network(x)
        model = model.double().to(device)
        model.eval()
        actual = model(x, mode='tensor')
    assert (actual - expected).abs().max() < 1e-10 * expected.abs().max()


@pytest.mark.parametrize('arch, reduced', [('resnet18', 256), ('resnet50', None), ('mobilenetv2', 256),
                                           ('shufflenetv2', None)])
def test_names_without_module(arch, reduced):
    network = released_network(arch, reduced, num_classes=10)
    with_prefix, found = convert(released_file(network), 'file')
    without, same = convert(released_file(network, prefix=''), 'file')
    bare, again = convert(network.state_dict(), 'file')
    assert found == same == again
    for converted in (without, bare):
        assert list(converted['state_dict']) == list(with_prefix['state_dict'])
        assert all(torch.equal(v, with_prefix['state_dict'][k]) for k, v in converted['state_dict'].items())


@pytest.mark.parametrize('best', [78.5, torch.tensor(78.5), torch.tensor([78.5]), np.float64(78.5)])
@pytest.mark.parametrize('zipped', [True, False])
def test_meta_and_both_file_formats(resnet18, best, zipped, tmp_path):
    path = tmp_path / 'best.pth.tar'
    torch.save(dict(released_file(resnet18), arch='resnet18', best_acc1=best), path,
               _use_new_zipfile_serialization=zipped)
    converted, _ = convert(load_checkpoint(str(path)), str(path))
    meta = converted['meta']
    assert meta['released'] == dict(file='best.pth.tar', arch='resnet18', epoch=50, best_acc1=78.5)
    assert type(meta['released']['best_acc1']) is float
    both, _ = convert(dict(released_file(resnet18), best_acc1=torch.tensor([70.5, 89.5])), 'file')
    assert both['meta']['released']['best_acc1'] == [70.5, 89.5]
    assert (meta['config_name'], meta['cfg_options']) == ('gap/resnet18_gap_imagenet.py', {})
    assert meta['dataset_meta']['classes'][:2] == ('tench, Tinca tinca', 'goldfish, Carassius auratus')
    torch.save(converted, tmp_path / 'converted.pth')
    assert torch.load(tmp_path / 'converted.pth', weights_only=True)['meta'] == meta


def test_other_width_and_classes_say_which_settings_the_config_needs():
    network = released_network('shufflenetv2', reduced=64, num_classes=20)
    converted, found = convert(released_file(network), 'file')
    assert str(found) == 'shufflenetv2 with GCP of 64 channels, 20 classes'
    assert found.config == 'gcp/shufflenetv2_gcp_imagenet.py'
    assert found.cfg_options == {'model.neck.reduced_channels': 64, 'model.head.in_channels': 2080,
                                 'model.head.num_classes': 20}
    assert found.test_command('out.pth') == (
        'tools/dist_test.sh configs/gcp/shufflenetv2_gcp_imagenet.py out.pth 4 --cfg-options '
        'model.head.num_classes=20 model.head.in_channels=2080 model.neck.reduced_channels=64')
    assert any('No config has this size' in note for note in found.notes)
    assert 'dataset_meta' not in converted['meta']
    model = built(found)
    model.load_state_dict(converted['state_dict'], strict=True)


def test_half_precision_becomes_single(resnet18):
    half = {name: value.half() if value.is_floating_point() else value for name, value in resnet18.state_dict().items()}
    converted, found = convert(half, 'file')
    assert found.notes == ['Numbers in float16 became float32.']
    assert {value.dtype for value in converted['state_dict'].values()} == {torch.float32, torch.int64}
    assert torch.equal(converted['state_dict']['backbone.conv1.weight'], half['conv1.weight'].float())


def test_counters_that_old_files_lack(resnet18):
    old = {name: value for name, value in resnet18.state_dict().items() if not name.endswith('num_batches_tracked')}
    converted, _ = convert(old, 'file')
    assert converted['state_dict']['backbone.layer4.1.bn2.num_batches_tracked'] == 0
    assert len(converted['state_dict']) == len(resnet18.state_dict())


def test_conv5_of_a_resnet_is_taken_as_not_down_sampled():
    _, found = convert(released_network('resnet18', reduced=32, num_classes=3).state_dict(), 'file')
    assert any('conv5' in note for note in found.notes)
    assert found.build_model().backbone.conv5_downsample == 'none'


def test_configs_of_all_layouts_exist():
    for arch, reduced in LAYOUTS:
        name = {None: f'gap/{arch}_gap', 256: f'gcp/{arch}_gcp', 128: f'gcp/{arch}_gcp_128'}[reduced]
        assert (configs_folder() / f'{name}_imagenet.py').is_file()


def changed(state_dict, changes):
    """State dict with tensors taken out (None), put in or replaced."""
    return {name: value for name, value in {**state_dict, **changes}.items() if value is not None}


@pytest.mark.parametrize('contents, sentence', [
    (dict(epoch=5, optimizer={}, best_acc1=torch.tensor([1.])), 'no weights: its keys are epoch, optimizer, best_acc1'),
    (dict(state_dict={}), 'no weights: its keys are state_dict'),
    (dict(state_dict=[torch.zeros(3, 3)]), 'no weights: its keys are state_dict'),
    ({}, 'no weights: its keys are none'),
    (dict(state_dict={'module.a.weight': torch.zeros(2, 2), 'b.bias': torch.zeros(2)}),
     r'no ResNet, MobileNetV2 or ShuffleNetV2 in the names of the released files: its 2 tensors are a.weight, b.bias'),
])
def test_files_without_a_released_network(contents, sentence):
    with pytest.raises(SetupError, match=f'^file holds {sentence}'):
        convert(contents, 'file')


@pytest.mark.parametrize('changes, sentence', [
    ({'layer4.1.conv2.weight': None, 'bn1.bias': None}, r'2 missing \(backbone.bn1.bias for one\):'),
    ({'fc.weight': None}, r'1 missing \(head.fc.weight for one\)'),
    ({'layer1.0.se.fc1.weight': torch.zeros(4, 64, 1, 1)}, r'1 surplus \(backbone.layer1.0.se.fc1.weight for one\)'),
    ({'fc.bias': torch.zeros(7)}, r'1 of another shape \(head.fc.bias, \(7,\) instead of \(1000,\), for one\)'),
    ({'fc.weight': torch.zeros(())}, r'1 of another shape \(head.fc.weight, \(\) instead of'),
    ({'layer_reduce_bn.weight': torch.zeros(256)}, r'GCP of 256 channels, .* 4 missing \(neck.reduction.conv.weight'),
])
def test_tensors_that_do_not_fit(resnet18, changes, sentence):
    with pytest.raises(SetupError, match=rf'^file looks like resnet18 with .*{sentence}') as raised:
        convert(changed(resnet18.state_dict(), changes), 'file')
    assert '\n' not in str(raised.value)


def test_a_triangle_of_another_size_than_the_reduction():
    state_dict = released_network('resnet18', reduced=32, num_classes=3).state_dict()
    state_dict['fc.weight'] = state_dict['fc.weight'][:, :-1]
    with pytest.raises(SetupError, match=r'head.fc.weight, \(3, 527\) instead of \(3, 528\)'):
        convert(state_dict, 'file')


@pytest.mark.parametrize('name, sentence', [
    ('resnext50_32x4d', r'looks like resnet50 with GAP, .* of another shape \(backbone.layer1'),
    ('wide_resnet50_2', r'looks like resnet50 with GAP, .* of another shape \(backbone.layer1'),
    ('resnet152', r'holds a resnet152, for which there is no configs/gap/resnet152_gap_imagenet.py'),
    ('shufflenet_v2_x0_5', r'looks like shufflenetv2 with GAP, .* of another shape \(backbone.layers.0'),
    ('vgg11', r'holds no ResNet, .* its 22 tensors are features.0.weight, features.0.bias, features.3.weight'),
])
def test_other_networks_of_torchvision(name, sentence):
    with torch.device('meta'):
        network = getattr(torchvision.models, name)(weights=None)
    with pytest.raises(SetupError, match=f'^file {sentence}'):
        convert(dict(state_dict=network.state_dict()), 'file')


def test_a_state_dict_that_lost_its_end(resnet18):
    names = [name for name in resnet18.state_dict() if not name.startswith(('layer4', 'fc'))]
    with pytest.raises(SetupError, match=r'^file holds a ResNet of \(2, 2, 2, 0\) basic blocks, which is none of'):
        convert({name: resnet18.state_dict()[name] for name in names}, 'file')


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_nan_and_infinity(resnet18, value):
    broken = resnet18.layer3[0].bn1.running_var.clone()
    broken[3] = value
    with pytest.raises(SetupError, match=r'^1 of 122 tensors in file hold NaN or infinity, backbone.layer3.0.bn1.runn'):
        convert(changed(resnet18.state_dict(), {'layer3.0.bn1.running_var': broken}), 'file')


@pytest.mark.parametrize('name, change, sentence', [
    ('layer1.0.conv1.weight', lambda value: value.to(torch.int8), r'layer1.0.conv1.weight in .* of torch.int8: '),
    ('layer1.0.conv1.weight', lambda value: value.to(torch.complex64), 'is of torch.complex64: weights must be'),
    ('layer1.0.conv1.weight', torch.Tensor.to_sparse, 'is of torch.sparse_coo: weights must be dense'),
    ('bn1.running_var', lambda value: -value, r'1 variances of BN in odd.pth are negative, backbone.bn1.running_var'),
    (7, lambda _: torch.zeros(2, 2), 'has a tensor called 7, and names of tensors must be text'),
])
def test_what_cannot_be_weights(name, change, sentence):
    state_dict = dict(released_network('resnet18').state_dict())
    state_dict[name] = change(state_dict.get(name))
    with pytest.raises(SetupError, match=sentence):
        released.convert(state_dict, 'odd.pth')
