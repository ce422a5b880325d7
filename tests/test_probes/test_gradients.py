"""Tests of Table 1, measured: rows against networks written out, comparisons by hand."""
import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn
from torch.utils.checkpoint import checkpoint

from mmgcp.analysis.table_1 import COVARIANCE, EXACT, GAP, KFAC, TRAINED, TRIMMED
from mmgcp.ops import covariance_pool
from mmgcp.probes.gradients import compare_gradients, fit_average_head, weight_gradients
from mmgcp.utils.errors import SetupError

CLASSES = 3
DAMPING = 1e-4


class Backbone(nn.Module):
    """Two convolutions; the second has a bias and an activation that overwrites what it gets."""

    with_cp = False

    def __init__(self, groups=1):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.second = nn.Conv2d(4, 8 if groups > 1 else 5, 3, padding=1, groups=groups)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.first(x)
        return (checkpoint(self.last, x, use_reentrant=True) if self.with_cp else self.last(x), )

    def last(self, x):
        return self.activation(self.second(x))


def classifier(device, covariance=True, channels=6, groups=1, head=None, **neck):
    """A small network in float64."""
    if covariance:
        neck = dict(type='mmgcp.GlobalCovariancePooling', in_channels=5, reduced_channels=channels) | neck
    else:
        neck = dict(type='GlobalAveragePooling')
    torch.manual_seed(1)
    inputs = channels * (channels + 1) // 2 if covariance else 5 if groups == 1 else 8
    model = MODELS.build(dict(
        type='ImageClassifier', backbone=Backbone(groups), neck=neck, data_preprocessor=BaseDataPreprocessor(),
        head=dict(type='LinearClsHead', num_classes=CLASSES, in_channels=inputs) | (head or {})))
    nn.init.normal_(model.head.fc.weight)
    return model.double().to(device).train()


def draw_batches(sizes=(6, 4), size=11):
    """Batches of unequal size, 5 x 5 pixels after the backbone."""
    generator = torch.Generator().manual_seed(2)
    return [dict(inputs=torch.randn(number, 3, size, size, dtype=torch.float64, generator=generator),
                 data_samples=[DataSample().set_gt_label(i % CLASSES) for i in range(number)]) for number in sizes]


def written_out(model, device, batches):
    """Input of the last convolution, X and labels of each batch."""
    for batch in batches:
        images = batch['inputs'].to(device)
        labels = torch.cat([sample.gt_label for sample in batch['data_samples']]).to(device)
        if hasattr(model.neck, 'reduction'):
            inputs = model.backbone(images)[0].detach()
            yield inputs, model.neck.reduction(inputs), labels
        else:
            inputs = model.backbone.first(images).detach()
            yield inputs, torch.relu(model.backbone.second(inputs)), labels


def mean_gradient(losses, sizes, *weights):
    """Of the mean over the images, from the mean losses of the batches."""
    loss = sum(loss * size for loss, size in zip(losses, sizes, strict=True)) / sum(sizes)
    return torch.cat([gradient.flatten(1) if gradient.dim() > 1 else gradient[:, None]
                      for gradient in torch.autograd.grad(loss, weights, retain_graph=True)], 1)


def with_kfac(gradient, patches, output_gradients, damping=DAMPING):
    """Gradient (out, d) times the inverse of the damped Kronecker product, which is formed and solved for.

    Args:
        gradient: (out, d).
        patches: Of each image, (positions, d).
        output_gradients: Of each image's loss, (positions, out).
    """
    a = sum(rows.T @ rows for rows in patches) / len(patches)
    g = sum(rows.T @ rows / len(rows) for rows in output_gradients) / len(output_gradients)
    pi = math.sqrt(a.trace() / len(a) / (g.trace() / len(g)))
    a = a + pi * math.sqrt(damping) * torch.eye(len(a)).to(a)
    g = g + math.sqrt(damping) / pi * torch.eye(len(g)).to(g)
    solved = torch.linalg.solve(torch.kron(a, g), gradient.T.flatten())  # columns of the gradient one below the other
    return solved.view(gradient.T.shape).T


@pytest.mark.parametrize('method', ['newton_schulz', 'eigh'])
@pytest.mark.parametrize('channels', [6, 30])  # less than, and more than the 25 pixels
def test_rows_of_a_covariance_network_equal_the_network_written_out(method, channels, device):
    model, batches = classifier(device, channels=channels, method=method), draw_batches()
    measured = weight_gradients(model, batches, DAMPING)
    assert measured.layer == 'neck.reduction.conv'
    assert list(measured.rows) == [TRAINED, EXACT, TRIMMED, COVARIANCE, GAP, KFAC]

    weight, sizes = model.neck.reduction.conv.weight, [6, 4]
    flows = list(written_out(model, device, batches))
    head = fit_average_head(torch.cat([x.mean((2, 3)) for _, x, _ in flows]).detach(),
                            F.one_hot(torch.cat([labels for *_, labels in flows]), CLASSES))
    losses = {name: [] for name in measured.rows}
    for _, x, labels in flows:
        pooled = covariance_pool(x, method, vector=True)
        losses[TRAINED].append(F.cross_entropy(model.head.fc(pooled), labels))
        # Losses that are linear in the pooled features have the given gradient by them.
        grad = torch.autograd.grad(losses[TRAINED][-1], pooled, retain_graph=True)[0]
        losses[EXACT].append((covariance_pool(x, 'eigh', vector=True) * grad).sum())
        losses[COVARIANCE].append((covariance_pool(x, 'covariance', vector=True) * grad).sum())
        rows = x.flatten(2).mT
        left, values, right = torch.linalg.svd((rows - rows.mean(1, keepdim=True)).detach(), full_matrices=False)
        upper = torch.zeros(len(x), channels, channels).to(x)
        rows_of, columns_of = torch.triu_indices(channels, channels)
        upper[:, rows_of, columns_of] = grad
        whitened = left * (values > 1e-9)[:, None] @ right / 5
        losses[TRIMMED].append((whitened @ (upper + upper.mT) / 2 * rows).sum())
        losses[GAP].append(F.cross_entropy(head(x.mean((2, 3))), labels))
    assert measured.loss == pytest.approx((6 * losses[TRAINED][0].item() + 4 * losses[TRAINED][1].item()) / 10)
    for name in (TRAINED, EXACT, TRIMMED, COVARIANCE, GAP):
        expected = mean_gradient(losses[name], sizes, weight)
        torch.testing.assert_close(measured.rows[name], expected, rtol=1e-6, atol=1e-9,
                                   msg=lambda text, name=name: f'{name}: {text}')


def test_kfac_row_of_a_covariance_network(device):
    model, batches = classifier(device), draw_batches()
    measured = weight_gradients(model, batches, DAMPING)
    patches, output_gradients = [], []
    flows = list(written_out(model, device, batches))
    head = fit_average_head(torch.cat([x.mean((2, 3)) for _, x, _ in flows]).detach(),
                            F.one_hot(torch.cat([labels for *_, labels in flows]), CLASSES))
    for inputs, _, labels in flows:
        outputs = model.neck.reduction.conv(inputs)
        x = torch.relu(model.neck.reduction.bn(outputs))
        loss = F.cross_entropy(head(x.mean((2, 3))), labels, reduction='sum')
        output_gradients += torch.autograd.grad(loss, outputs)[0].flatten(2).mT
        patches += inputs.flatten(2).mT
    expected = with_kfac(measured.rows[GAP], patches, output_gradients)
    torch.testing.assert_close(measured.rows[KFAC], expected, rtol=1e-7, atol=0)


def test_rows_of_an_average_network_equal_the_network_written_out(device):
    model, batches = classifier(device, covariance=False), draw_batches()
    measured = weight_gradients(model, batches, DAMPING)
    assert measured.layer == 'backbone.second' and list(measured.rows) == [GAP, KFAC]

    conv, losses, patches, output_gradients = model.backbone.second, [], [], []
    for inputs, x, labels in written_out(model, device, batches):
        losses.append(F.cross_entropy(model.head.fc(x.mean((2, 3))), labels))
        outputs = conv(inputs)
        logits = model.head.fc(torch.relu(outputs).mean((2, 3)))
        loss = F.cross_entropy(logits, labels, reduction='sum')
        output_gradients += torch.autograd.grad(loss, outputs)[0].flatten(2).mT
        patches += F.pad(F.unfold(inputs, 3, padding=1).mT, (0, 1), value=1.)
    expected = mean_gradient(losses, [6, 4], conv.weight, conv.bias)
    torch.testing.assert_close(measured.rows[GAP], expected, rtol=1e-9, atol=1e-12)
    expected = with_kfac(expected, patches, output_gradients)
    torch.testing.assert_close(measured.rows[KFAC], expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize('covariance', [True, False])
def test_no_trace_is_left(covariance, device):
    model, batches = classifier(device, covariance), draw_batches()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    first = weight_gradients(model, batches, DAMPING)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state) and model.training
    assert all(weight.grad is None and weight.requires_grad for weight in model.parameters())
    assert not any(layer._forward_hooks for layer in model.modules())
    again = weight_gradients(model, batches, DAMPING)
    assert all(torch.equal(row, again.rows[name]) for name, row in first.rows.items())


def test_networks_that_save_memory_by_checkpointing(device):
    model, batches = classifier(device, covariance=False), draw_batches()
    expected = weight_gradients(model, batches, DAMPING).rows
    model.backbone.with_cp = True
    for name, row in weight_gradients(model, batches, DAMPING).rows.items():
        torch.testing.assert_close(row, expected[name])


def test_mixed_labels_count_as_probabilities(device):
    model, batches, mixed = classifier(device), draw_batches(), draw_batches()
    for batch in mixed:
        for sample in batch['data_samples']:
            sample.set_gt_score(F.one_hot(sample.gt_label[0], CLASSES).double())
    expected = weight_gradients(model, batches, DAMPING).rows
    for name, row in weight_gradients(model, mixed, DAMPING).rows.items():
        torch.testing.assert_close(row, expected[name])


class TestFit:

    @pytest.mark.parametrize('images, channels', [(40, 5), (8, 50)])
    def test_stands_at_the_optimum(self, images, channels, device):
        features = 3 + 7 * torch.randn(images, channels, dtype=torch.float64, device=device)
        labels = torch.arange(images, device=device) % CLASSES
        head = fit_average_head(features, F.one_hot(labels, 4))
        assert head.weight.is_leaf and not any(weight.requires_grad for weight in head.parameters())
        length = (features - features.mean(0)).square().sum(1).mean().sqrt()
        normed = (features - features.mean(0)) / length
        residuals = F.one_hot(labels, 4) - head(features).softmax(1)
        # Sums of residuals times features.
        torch.testing.assert_close(head.weight * length, residuals.T @ normed, rtol=1e-6, atol=1e-8)
        bias = head.bias + head.weight @ features.mean(0)
        torch.testing.assert_close(bias, residuals.sum(0), rtol=1e-6, atol=1e-8)

    def test_residuals_do_not_vanish_where_channels_outnumber_images(self, device):
        features = torch.randn(6, 1000, dtype=torch.float64, device=device)
        labels = torch.arange(6, device=device) % CLASSES
        head = fit_average_head(features, F.one_hot(labels, CLASSES))
        right = head(features).softmax(1)[range(6), labels]
        assert (right > 1 / CLASSES).all() and (right < 0.8).all()

    @pytest.mark.parametrize('features', [torch.ones(4, 3), torch.tensor([[1., 2.], [math.nan, 0.]])])
    def test_features_without_differences_are_refused(self, features):
        with pytest.raises(SetupError, match='not finite, or the same for all images'):
            fit_average_head(features, torch.eye(len(features)))


def test_comparison_by_hand(device):
    rows = {'a': torch.diag(torch.tensor([3., 4.])), 'b': torch.tensor([[0., 5.], [0., 0.]]),
            'c': torch.tensor([[-2., 0.], [0., 0.]])}
    a, b, c = compare_gradients({name: row.double().to(device) for name, row in rows.items()}).values()
    assert (a.norm, b.norm, c.norm) == pytest.approx((5, 5, 2))
    assert a.singular_values == pytest.approx([1, 0.75]) and b.singular_values == pytest.approx([1, 0])
    assert a.effective_rank == pytest.approx((7 / 4)**(4 / 7) * (7 / 3)**(3 / 7))
    assert (b.effective_rank, c.effective_rank) == pytest.approx((1, 1))
    assert a.cosines == pytest.approx({'a': 1, 'b': 0, 'c': -0.6})
    assert b.cosines == pytest.approx({'a': 0, 'b': 1, 'c': 0})
    assert c.cosines == pytest.approx({'a': -0.6, 'b': 0, 'c': 1})


def test_64_singular_values_are_kept():
    row, = compare_gradients({'a': torch.eye(70, 80, dtype=torch.float64)}).values()
    assert row.singular_values == pytest.approx([1] * 64) and row.effective_rank == pytest.approx(70)


class TestMistakes:

    def refused(self, model, sentence, batches=None, damping=DAMPING, error=SetupError):
        with pytest.raises(error, match=sentence):
            weight_gradients(model, draw_batches() if batches is None else batches, damping)

    @pytest.mark.parametrize('neck, given', [
        (dict(method='covariance'), r"CovariancePooling\('covariance'"),
        (dict(method='newton_schulz', center=False), 'center=False'),
        (dict(method='eigh', shrinkage=0.1), 'shrinkage=0.1'),
        (dict(method='newton_schulz', pre_norm='none'), "pre_norm='none'"),
        (dict(scale_off_diagonal=True), 'leave .* scale_off_diagonal'),
    ])
    def test_other_poolings(self, neck, given, device):
        self.refused(classifier(device, **neck), f'Eq. 6 is the gradient of the square root .*{given}')

    def test_no_pooling(self, device):
        model = classifier(device)
        model.neck = None
        self.refused(model, 'ImageClassifier has 0 layers that pool')

    def test_no_convolution_before_the_pooling(self, device):
        model = classifier(device, covariance=False)
        model.backbone.forward = lambda x: (x, )
        model.head.fc = nn.Linear(3, CLASSES).double().to(device)
        self.refused(model, 'pools 1 times in a forward pass, or has no convolution before')

    def test_last_convolution_in_groups(self, device):
        self.refused(classifier(device, covariance=False, groups=4), 'backbone.second, is grouped')

    def test_frozen_convolution(self, device):
        model = classifier(device)
        model.neck.reduction.conv.requires_grad_(False)
        self.refused(model, 'neck.reduction.conv, is grouped, shared, frozen')

    def test_zero_gradient(self, device):
        model = classifier(device)
        nn.init.zeros_(model.head.fc.weight)
        self.refused(model, "row 'GCP as trained' is zero")

    def test_gradient_that_is_not_finite(self, device):
        model = classifier(device)
        nn.init.constant_(model.head.fc.weight, math.inf)
        self.refused(model, "row 'GCP as trained' is not finite")

    def test_settings(self, device):
        self.refused(classifier(device), 'at least one batch', [], error=ValueError)
        self.refused(classifier(device), 'damping=0 must be a positive number', damping=0, error=ValueError)
