import random
from functools import partial

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

from mmgcp.probes.probe import preprocess, training_loss, undisturbed


class Counter(nn.Module):
    """A layer with a buffer of its own, that counts its passes."""

    def __init__(self):
        super().__init__()
        self.register_buffer('passes', torch.zeros(()))

    def forward(self, x):
        self.passes += 1
        return x


class Backbone(nn.Module):

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.frozen = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.without = nn.BatchNorm2d(4, track_running_stats=False)
        self.counter = Counter()

    def train(self, mode=True):
        super().train(mode)
        self.frozen.eval()
        return self

    def forward(self, x):
        return (self.counter(self.without(self.frozen(self.norm(self.conv(x))))), )


@pytest.fixture
def model(device):
    """A classifier with dropout, Mixup, and normalisation that is trained, frozen, or without running statistics."""
    return MODELS.build(dict(
        type='ImageClassifier',
        data_preprocessor=dict(num_classes=3, mean=[128] * 3, std=[64] * 3),
        train_cfg=dict(augments=dict(type='Mixup', alpha=1.)),
        backbone=Backbone(),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='mmgcp.DropoutLinearClsHead', dropout_rate=0.5, num_classes=3, in_channels=4,
                  loss=dict(type='CrossEntropyLoss', use_soft=True)))).to(device).train()


@pytest.fixture
def batch():
    return dict(inputs=torch.randint(0, 256, (4, 3, 6, 6), dtype=torch.uint8),
                data_samples=[DataSample().set_gt_label(index % 3) for index in range(4)])


def drawn(device):
    """Next numbers of all generators."""
    return random.random(), np.random.random(), torch.rand(1).item(), torch.rand(1, device=device).item()


def seed_all():
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)


class Stop(Exception):
    pass


@pytest.mark.parametrize('ends_in_error', [False, True])
def test_buffers_and_generators_are_as_before(ends_in_error, model, batch, device):
    names = dict(model.named_buffers())
    before = {name: value.clone() for name, value in names.items()}
    seed_all()
    expected = drawn(device)
    seed_all()
    try:
        with undisturbed(model):
            training_loss(model, preprocess(model, batch))
            assert model.backbone.counter.passes == 1
            drawn(device)
            if ends_in_error:
                raise Stop
    except Stop:
        pass
    assert drawn(device) == expected
    after = dict(model.named_buffers())
    assert list(after) == list(names) and all(torch.equal(after[name], before[name]) for name in names)
    # The very same tensors, which optimisers, EMA and wrappers may have references to.
    assert all(after[name] is names[name] for name in names)
    assert model.backbone.norm.running_mean.abs().sum() == 0
    training_loss(model, preprocess(model, batch))
    assert model.backbone.norm.running_mean.abs().sum() > 0 and model.backbone.norm.num_batches_tracked == 1


def test_normalisation_is_that_of_training(model, batch):
    model.backbone.norm.running_mean.fill_(5.)
    model.backbone.frozen.running_mean.fill_(0.5)
    with torch.no_grad(), undisturbed(model) as rewind:
        data = preprocess(model, batch)
        rewind()
        measured = training_loss(model, data)
        rewind()
    with torch.no_grad():
        assert training_loss(model, data) == measured
        model.eval()
        assert training_loss(model, data) != measured


def test_rewinding_repeats_dropout_and_mixup(model, batch):
    with torch.no_grad(), undisturbed(model) as rewind:
        first = preprocess(model, batch)
        loss = training_loss(model, first)
        assert training_loss(model, first) != loss
        rewind()
        second = preprocess(model, batch)
        assert torch.equal(first['inputs'], second['inputs']) and training_loss(model, second) == loss
    # The training step that follows draws the same.
    data = model.data_preprocessor(batch, training=True)
    assert torch.equal(data['inputs'], first['inputs']) and training_loss(model, data) == loss


NEW = hasattr(torch.backends.cudnn, 'conv')  # settings of precision, since torch 2.9


@pytest.mark.parametrize('new', [False, pytest.param(True, marks=pytest.mark.skipif(not NEW, reason='torch 2.9'))])
def test_products_and_convolutions_are_in_full_float32(new, device, request):
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    name, value = ('fp32_precision', 'tf32') if new else ('allow_tf32', True)
    for owner in (cudnn.conv, matmul) if new else (cudnn, matmul):
        request.addfinalizer(partial(setattr, owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    def precision():
        return [owner.fp32_precision == 'tf32' if NEW else owner.allow_tf32 for owner in (
            cudnn.conv if NEW else cudnn, matmul)] + [not cudnn.deterministic]

    layers = nn.Sequential(nn.Conv2d(64, 64, 3), nn.Flatten(), nn.Linear(64 * 36, 50)).to(device)
    x = torch.randn(8, 64, 8, 8, device=device)
    assert precision() == [True] * 3
    with torch.no_grad(), undisturbed(layers):
        assert precision() == [False] * 3
        out = layers(x)
    assert precision() == [True] * 3
    expected = layers.double()(x.double())
    assert (out - expected).norm() < 2e-6 * expected.norm()  # with TF32 about 3e-4


def test_one_inside_another_rewinds_to_its_own_start(model, batch):
    with torch.no_grad(), undisturbed(model):
        data = preprocess(model, batch)
        with undisturbed(model) as rewind:
            losses = [training_loss(model, data)]
            rewind()
            losses.append(training_loss(model, data))
        losses.append(training_loss(model, data))
    assert losses[0] == losses[1] == losses[2]
    assert model.backbone.norm.num_batches_tracked == 0


def test_preprocessing_leaves_the_batch_alone(model, batch):
    inputs, labels = batch['inputs'].clone(), [sample.gt_label.clone() for sample in batch['data_samples']]
    data = preprocess(model, batch)
    assert data['inputs'].is_floating_point() and data['data_samples'][0].gt_score.max() < 1  # mixed up
    assert torch.equal(batch['inputs'], inputs)
    for sample, label in zip(batch['data_samples'], labels, strict=True):
        assert torch.equal(sample.gt_label, label) and 'gt_score' not in sample


def test_the_loss_is_the_sum_of_the_losses_of_a_model(model, device):
    model.forward = lambda inputs, mode: dict(loss_a=inputs.sum(), loss_b=[inputs.mean(), inputs.mean()],
                                              accuracy=inputs)
    inputs = torch.ones(2, 2, device=device, requires_grad=True)
    loss = training_loss(model, dict(inputs=inputs))
    loss.backward()
    assert loss == 6 and torch.equal(inputs.grad, torch.full((2, 2), 1.5, device=device))


def test_transforms_accept_it(model, batch):
    with undisturbed(model):
        data = preprocess(model, batch)
        moved = torch.stack([data['inputs'], 2 * data['inputs'] + 1])

        def loss(inputs):
            return training_loss(model, {**data, 'inputs': inputs})

        model.backbone.counter.forward = lambda x: x  # what writes into its buffer cannot be batched
        model.head.dropout.eval()
        torch.testing.assert_close(torch.vmap(loss)(moved), torch.stack([loss(inputs) for inputs in moved]))


@pytest.mark.parametrize('norm', [
    nn.BatchNorm2d, nn.SyncBatchNorm, partial(nn.InstanceNorm2d, track_running_stats=True)])
def test_all_normalisations_that_track_statistics_are_left_alone(norm):
    layer, x = norm(3), torch.randn(4, 3, 5, 5)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    with undisturbed(nn.Sequential(nn.Conv2d(1, 1, 1), layer)):
        out = layer(x)
    dims = (2, 3) if isinstance(layer, nn.InstanceNorm2d) else (0, 2, 3)
    mean, variance = x.mean(dims, keepdim=True), x.var(dims, correction=0, keepdim=True)
    torch.testing.assert_close(out, (x - mean) / (variance + layer.eps).sqrt())
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())
    assert layer.track_running_stats
    layer(x)
    assert not torch.equal(before['running_mean'], layer.running_mean)
