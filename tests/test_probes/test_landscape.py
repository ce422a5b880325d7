import math
import os
from collections import Counter

import pytest
import torch
import torch.distributed
from mmengine.model import BaseModel
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.structures import DataSample
from torch import nn

from mmgcp.probes.landscape import PLACES, find_place, measure_landscape
from mmgcp.probes.probe import training_loss, undisturbed
from mmgcp.utils.errors import SetupError

from ..processes import start_two

ETAS = [0.1, 3., 20.]


def classifier(arch='GCPResNet', neck='mmgcp.GlobalCovariancePooling', **head):
    """A small network in float64."""
    backbone, channels = {
        'GCPResNet': (dict(type='mmgcp.GCPResNet', depth=18, stem_channels=4, base_channels=4,
                           conv5_downsample='none'), 32),
        'MobileNetV2': (dict(type='MobileNetV2', widen_factor=0.1), 1280),
        'ShuffleNetV2': (dict(type='ShuffleNetV2', widen_factor=0.5), 1024),
        'VisionTransformer': (dict(type='VisionTransformer', img_size=64, out_type='featmap', arch=dict(
            embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)), 16),
        'SwinTransformer': (dict(type='SwinTransformer', img_size=64, window_size=4, out_indices=[1], drop_path_rate=0.,
                                 arch=dict(embed_dims=16, depths=[1, 1], num_heads=[2, 2])), 32),
    }[arch]
    neck = dict(type=neck)
    if neck['type'].startswith('mmgcp.'):
        neck.update(in_channels=channels, reduced_channels=6)
    head = dict(type='LinearClsHead', num_classes=3, in_channels=21 if 'in_channels' in neck else channels) | head
    torch.manual_seed(1)
    model = MODELS.build(dict(type='ImageClassifier', backbone=backbone, neck=neck, head=head)).double()
    nn.init.normal_(model.head.fc.weight)
    model.train()
    return model


def images(number=6, size=64):
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(number, 3, size, size, dtype=torch.float64, generator=generator)
    return dict(inputs=inputs, data_samples=[DataSample().set_gt_label(i % 3) for i in range(number)])


def textbook(loss_of, start, etas, sign=1):
    """Eqs. 3 and 4, one step size at a time, of a loss that is a function of one tensor."""
    def gradient_of(x):
        x = x.detach().requires_grad_()
        loss = loss_of(x)
        return loss.item(), torch.autograd.grad(loss, x)[0]

    loss, gradient = gradient_of(start)
    losses, distances = [], []
    for eta in etas:
        moved, other = gradient_of(start + sign * eta * gradient)
        losses.append(moved)
        distances.append((gradient - other).norm().item())
    length = gradient.norm().item()
    return loss, length, losses, distances, [d / (eta * length) for d, eta in zip(distances, etas, strict=True)]


def approx(expected, rel=1e-9):
    return tuple(pytest.approx(value, rel=rel) for value in expected)


def by_hand(model, x, data, stages):
    """Loss after the stem, written out."""
    for name in stages:
        x = getattr(model.backbone, name)(x)
    features = model.neck((x, ))
    logits = model.head.fc(features[-1])
    return nn.functional.cross_entropy(logits, torch.cat([sample.gt_label for sample in data['data_samples']]))


@pytest.mark.parametrize('at_once', [1, 2, 3])
@pytest.mark.parametrize('neck', ['GlobalAveragePooling', 'mmgcp.GlobalCovariancePooling'])
def test_stem_of_resnet_equals_the_network_written_out(neck, at_once):
    model, data = classifier(neck=neck), images()
    place = find_place(model, 'stem')
    backbone = model.backbone
    stem = backbone.maxpool(backbone.relu(backbone.norm1(backbone.conv1(data['inputs'])))).detach()
    expected = textbook(lambda x: by_hand(model, x, data, backbone.res_layers), stem, ETAS)
    with undisturbed(model):
        measured = measure_landscape(model, data, place, ETAS, steps_at_once=at_once)
    assert place.name == 'backbone.maxpool' and tuple(measured) == approx(expected)
    assert min(measured.distances) > 0


@pytest.mark.parametrize('neck', ['GlobalAveragePooling', 'mmgcp.GlobalCovariancePooling'])
def test_several_steps_at_once_in_float32(neck, device):
    """On a GPU covariance pooling takes its fused kernels then."""
    model, data = classifier(neck=neck), images()
    with undisturbed(model):
        expected = measure_landscape(model, data, find_place(model, 'stem'), ETAS)
    model.float().to(device)
    data['inputs'] = data['inputs'].float().to(device)
    with undisturbed(model):
        found = measure_landscape(model, data, find_place(model, 'stem'), ETAS, steps_at_once=len(ETAS))
    assert tuple(found) == approx(expected, rel=1e-3)


@pytest.mark.parametrize('arch, layer', [('MobileNetV2', 'backbone.conv1'), ('ShuffleNetV2', 'backbone.maxpool')])
def test_stems_of_other_networks(arch, layer):
    model, data = classifier(arch), images()
    place = find_place(model, 'stem')
    backbone = model.backbone
    x = backbone.conv1(data['inputs'])
    stem = (backbone.maxpool(x) if arch == 'ShuffleNetV2' else x).detach()
    if arch == 'MobileNetV2':
        expected = textbook(lambda x: by_hand(model, x, data, backbone.layers), stem, ETAS)
    else:
        backbone.sequence = nn.Sequential(*backbone.layers)
        expected = textbook(lambda x: by_hand(model, x, data, ['sequence']), stem, ETAS)
    with undisturbed(model):
        assert place.name == layer and tuple(measure_landscape(model, data, place, ETAS)) == approx(expected)


class Fixed(nn.Module):
    """Gives the same whatever the input."""

    def __init__(self, *outputs):
        super().__init__()
        self.outputs = outputs

    def forward(self, _):
        return self.outputs


# Not every version of PyTorch has vmap for the attention of VisionTransformer.
@pytest.mark.parametrize('arch, at_once', [('VisionTransformer', 1), ('SwinTransformer', 1), ('SwinTransformer', 3)])
def test_stems_of_transformers(arch, at_once):
    """They give the number of patches beside the patches."""
    model, data = classifier(arch), images()
    place = find_place(model, 'stem')
    with undisturbed(model):
        found = measure_landscape(model, data, place, ETAS, steps_at_once=at_once)
    patches, size = model.backbone.patch_embed(data['inputs'])

    def loss_of(x):
        model.backbone.patch_embed = Fixed(x, size)
        return training_loss(model, data)

    assert place.name == 'backbone.patch_embed' and tuple(found) == approx(textbook(loss_of, patches.detach(), ETAS))
    assert min(found.distances) > 0


@pytest.mark.parametrize('neck', ['GlobalAveragePooling', 'mmgcp.GlobalCovariancePooling'])
def test_last_conv_is_what_the_pooling_receives(neck):
    model, data = classifier(neck=neck), images()
    x = model.backbone(data['inputs'])[-1].detach()
    if neck.startswith('mmgcp.'):
        x = model.neck.reduction(x).detach()
        after = lambda x: model.head.fc(model.neck.pooling(x))  # noqa: E731
    else:
        after = lambda x: model.head.fc(x.mean((2, 3)))  # noqa: E731
    labels = torch.cat([sample.gt_label for sample in data['data_samples']])
    expected = textbook(lambda x: nn.functional.cross_entropy(after(x), labels), x, ETAS)
    with undisturbed(model):
        assert tuple(measure_landscape(model, data, find_place(model, 'last_conv'), ETAS)) == approx(expected)


def test_image_weights_and_named_layers():
    model, data = classifier(), images()
    with undisturbed(model):
        expected = textbook(lambda x: training_loss(model, {**data, 'inputs': x}), data['inputs'], ETAS)
        assert tuple(measure_landscape(model, data, find_place(model, 'image'), ETAS)) == approx(expected)
        # The first block's output, and the whole tuple that the backbone gives, as it is the last block's.
        second = measure_landscape(model, data, find_place(model, 'backbone.layer4.1'), ETAS)
        assert tuple(measure_landscape(model, data, find_place(model, 'backbone'), ETAS)) == approx(second, rel=1e-12)
        # Down the weights, which makes the loss smaller.
        measured = measure_landscape(model, data, find_place(model, 'weights'), [1e-4, 1e-3], 'descent')
        assert tuple(measure_landscape(model, data, find_place(model, 'weights'), [1e-4, 1e-3], 'descent',
                                       steps_at_once=2)) == approx(measured)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    training_loss(model, data).backward()
    gradient = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    length = torch.cat([g.flatten() for g in gradient.values()]).norm().item()
    assert measured.gradient_norm == pytest.approx(length, rel=1e-9)
    for eta, loss, distance in zip([1e-4, 1e-3], measured.losses, measured.distances, strict=True):
        with torch.no_grad():
            for name, weight in model.named_parameters():
                weight.copy_(before[name] - eta * gradient[name])
        model.zero_grad()
        moved = training_loss(model, data)
        moved.backward()
        difference = torch.cat([(weight.grad - gradient[name]).flatten() for name, weight in model.named_parameters()])
        assert (loss, distance) == approx((moved.item(), difference.norm().item()), rel=1e-7)
        assert loss < measured.loss


class Quadratic(BaseModel):
    """``x^T H x / 2`` of the image ``x``, and infinite from a length of 1,000 on."""

    def __init__(self, hessian):
        super().__init__()
        self.layer = nn.Identity()
        self.weight = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.hessian = hessian

    def forward(self, inputs, data_samples=None, mode='loss'):
        x = self.layer(inputs)
        loss = x @ self.hessian @ x / 2 + 0 * self.weight
        return dict(loss=torch.where(x.norm() > 1000, torch.inf, loss))


def test_beta_of_a_quadratic_is_its_curvature_along_the_gradient():
    hessian = torch.diag(torch.tensor([3., 0.5], dtype=torch.float64))
    model = Quadratic(hessian)
    for x, beta in (([1., 0.], 3.), ([0., 1.], 0.5)):
        data = dict(inputs=torch.tensor(x, dtype=torch.float64))
        for direction, sign in (('ascent', 1), ('descent', -1)):
            measured = measure_landscape(model, data, find_place(model, 'image'), [0.1, 0.2], direction)
            assert measured.smoothness == pytest.approx([beta, beta], rel=1e-12)
            assert measured.distances == pytest.approx([0.1 * beta**2, 0.2 * beta**2])
            assert measured.losses == pytest.approx([beta / 2 * (1 + sign * eta * beta)**2 for eta in (0.1, 0.2)])


def test_losses_that_are_not_finite_are_shown_and_a_flat_loss_has_no_smoothness():
    model = Quadratic(torch.eye(2, dtype=torch.float64))
    data = dict(inputs=torch.tensor([1., 0.], dtype=torch.float64))
    measured = measure_landscape(model, data, find_place(model, 'image'), [1., 1e6])
    assert measured.losses[0] == pytest.approx(2) and measured.losses[1] == math.inf
    data = dict(inputs=torch.zeros(2, dtype=torch.float64))
    measured = measure_landscape(model, data, find_place(model, 'image'), [1.])
    assert measured.distances == [0.] and math.isnan(measured.smoothness[0])


def test_dropout_draws_the_same_mask_for_every_step():
    model = classifier('MobileNetV2', type='mmgcp.DropoutLinearClsHead', dropout_rate=0.5)
    data = images()
    with undisturbed(model) as rewind:
        first = measure_landscape(model, data, find_place(model, 'stem'), [1e-13], rewind=rewind)
        assert first.losses[0] == pytest.approx(first.loss, rel=1e-8)
        assert measure_landscape(model, data, find_place(model, 'stem'), [1e-13], rewind=rewind) == first
    expected = training_loss(model, data).item()  # draws what was wound back
    assert first.loss == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize('at, words', [
    ('backbone.layer5', "no layer 'backbone.layer5'.*nearest are.*backbone.layer"),
    ('steam', "no layer 'steam'.*stem"),
    ('', "no layer ''"),
    ('backbone.layer1.0.relu', 'runs 2 times'),
    ('data_preprocessor', 'runs 0 times'),
    ('nothing', 'the layer nothing gives a tuple and no tensor of numbers'),
])
def test_places_that_do_not_exist(at, words):
    model = classifier()
    model.nothing = Fixed(torch.ones(1, dtype=torch.int64), 3)
    model.backbone.register_forward_hook(lambda *_: model.nothing(None) and None)
    with pytest.raises(SetupError, match=words), undisturbed(model):
        measure_landscape(model, images(), find_place(model, at), ETAS)


def test_networks_without_the_asked_parts():
    with pytest.raises(SetupError, match='no stem that is known'):
        find_place(Quadratic(torch.eye(2)), 'stem')
    with pytest.raises(SetupError, match='no neck that pools'):
        find_place(Quadratic(torch.eye(2)), 'last_conv')
    assert set(PLACES) == {'stem', 'last_conv', 'image', 'weights'}


class Refusing(Quadratic):
    """Looks at a number, which ``vmap`` refuses."""

    def forward(self, inputs, data_samples=None, mode='loss'):
        assert inputs.sum().item() is not None
        return super().forward(inputs)


def test_networks_that_refuse_vmap_are_told_how_to_do_without():
    model = Refusing(torch.eye(2, dtype=torch.float64))
    data = dict(inputs=torch.ones(2, dtype=torch.float64))
    place = find_place(model, 'image')
    with pytest.raises(SetupError, match='steps_at_once=1'):
        measure_landscape(model, data, place, [1., 2.], steps_at_once=2)
    assert measure_landscape(model, data, place, [1., 2.]).smoothness == pytest.approx([1., 1.])


def _one_of_two(rank, folder):
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=2)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        half = {key: value[3 * rank:3 * rank + 3] for key, value in images().items()}
        torch.save(without_batch_statistics(half), f'{folder}/{rank}')
    torch.distributed.barrier()
    os._exit(0)  # to take the group apart can hang in torch 2.1


def without_batch_statistics(data):
    model = classifier()
    model.eval()
    return [tuple(measure_landscape(model, data, find_place(model, at), ETAS)) for at in ('stem', 'weights')]


def test_two_processes_measure_the_joint_batch(tmp_path):
    start_two(_one_of_two, str(tmp_path))
    first, second = (torch.load(tmp_path / str(rank)) for rank in range(2))
    assert first == second
    for measured, expected in zip(first, without_batch_statistics(images()), strict=True):
        assert measured == approx(expected)


@pytest.mark.parametrize('arch', ['GCPResNet', 'MobileNetV2', 'ShuffleNetV2'])
def test_every_layer_that_runs_once(arch):
    """Those before in-place operations too, whose output is kept from them. Landscapes, which take longer, at some."""
    model, data = classifier(arch), images(2)
    outputs, runs = {}, Counter()

    def keep(name, output):
        runs[name] += 1
        outputs[name] = output.clone() if isinstance(output, torch.Tensor) else None

    with undisturbed(model):
        handles = [layer.register_forward_hook(lambda _, __, output, name=name: keep(name, output))
                   for name, layer in model.backbone.named_modules(prefix='backbone')]
        with torch.no_grad():
            training_loss(model, data)
        for handle in handles:
            handle.remove()
        names = [name for name, output in outputs.items() if output is not None and runs[name] == 1]
        assert len(names) > 40
        for name in names:
            point = find_place(model, name).point(model, data)
            torch.testing.assert_close(point['activation'], outputs[name], rtol=0, atol=0)
        for name in names[::5]:
            found = measure_landscape(model, data, find_place(model, name), [0.1])
            assert math.isfinite(found.losses[0]) and found.gradient_norm > 0


@pytest.mark.parametrize('at', ['stem', 'weights', 'backbone.layer3.0.bn1'])
def test_networks_that_save_memory_by_checkpointing(at):
    model, data = classifier(), images(4, 32)
    with undisturbed(model):
        expected = measure_landscape(model, data, find_place(model, at), ETAS)
    layers = [module for module in model.modules() if hasattr(module, 'with_cp')]
    for layer in layers:
        layer.with_cp = True
    with undisturbed(model):
        found = measure_landscape(model, data, find_place(model, at), ETAS)
    assert all(layer.with_cp for layer in layers)
    for a, b in zip(found, expected, strict=True):
        assert a == pytest.approx(b)


def test_the_loss_itself_is_a_place():
    """L = x, whose gradient is 1 everywhere."""
    model, data = classifier(), images(4, 32)
    with undisturbed(model):
        found = measure_landscape(model, data, find_place(model, 'head.loss_module'), ETAS)
    assert found.losses == pytest.approx([found.loss + eta for eta in ETAS])
    assert (found.gradient_norm, found.distances) == (1, [0] * len(ETAS))
