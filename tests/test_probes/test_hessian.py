import math

import numpy as np
import pytest
import torch
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.registry import MODELS
from mmpretrain.structures import DataSample
from scipy.sparse.linalg import aslinearoperator
from torch import nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from mmgcp.probes.hessian import (
    NonFiniteCurvatureError,
    hessian_vector_product,
    largest_eigenvalues,
    loss_hessian,
    trace,
    trained_weights,
)
from mmgcp.probes.probe import preprocess, training_loss, undisturbed
from mmgcp.utils.errors import SetupError


class Convolution(nn.Module):
    """A backbone of one smooth layer in double precision, which the preprocessor does not give."""

    with_cp = False

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(3)

    def forward(self, x):
        x = self.conv(x.double())
        return (checkpoint(self.activate, x, use_reentrant=True) if self.with_cp else self.activate(x), )

    def activate(self, x):
        return self.bn(x).tanh()


@pytest.fixture(params=['newton_schulz', 'eigh', 'GAP'])
def classifier(request, device):
    """Convolution, BN, pooling and a linear head of MMPretrain: about 120 weights, double precision."""
    method = request.param
    neck = dict(type='mmgcp.GlobalCovariancePooling', in_channels=3, reduced_channels=2, method=method,
                act_cfg=dict(type='Tanh'))
    model = MODELS.build(dict(
        type='ImageClassifier',
        data_preprocessor=dict(mean=[128] * 3, std=[64] * 3),
        backbone=Convolution(),
        neck=dict(type='GlobalAveragePooling') if method == 'GAP' else neck,
        head=dict(type='LinearClsHead', num_classes=3, in_channels=3)))
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.5)
    return model.double().to(device).train()


def draw(seed, images=5):
    generator = torch.Generator().manual_seed(seed)
    return dict(inputs=torch.randint(0, 256, (images, 3, 11, 11), generator=generator, dtype=torch.uint8),
                data_samples=[DataSample().set_gt_label(index % 3) for index in range(images)])


def dense(model, batches):
    """The whole Hessian by autograd's own function, and the mean loss."""
    weights = trained_weights(model)
    flat = torch.cat([weight.detach().reshape(-1) for weight in weights.values()])

    def loss(flat):
        parts = flat.split([weight.numel() for weight in weights.values()])
        point = {name: part.view_as(weight) for (name, weight), part in zip(weights.items(), parts, strict=True)}
        outputs = [torch.func.functional_call(model, point, (), dict(preprocess(model, batch), mode='loss'))
                   for batch in batches]
        return sum(model.parse_losses(output)[0] for output in outputs) / len(batches)

    with undisturbed(model):
        return torch.autograd.functional.hessian(loss, flat).cpu().numpy(), loss(flat).item()


def test_eigenvalues_and_trace_are_those_of_the_dense_hessian(classifier):
    batches = [draw(0)]
    expected, loss = dense(classifier, batches)
    exact = np.linalg.eigvalsh(expected)
    with loss_hessian(classifier, batches) as hessian:
        assert hessian.shape == expected.shape and hessian.dtype == np.float64 and math.isnan(hessian.loss)
        vector = np.random.default_rng(0).standard_normal(len(expected))
        np.testing.assert_allclose(hessian @ vector, expected @ vector, rtol=1e-9, atol=1e-10)
        assert hessian.loss == pytest.approx(loss, rel=1e-12)
        largest = largest_eigenvalues(hessian, 3, tolerance=1e-10)
        lowest = largest_eigenvalues(-hessian, 1, tolerance=1e-10)
        before = hessian.products
        mean, error = trace(hessian, samples=40)
        assert hessian.products == before + 40 and hessian.seconds > 0
    assert largest.values == pytest.approx(exact[:-4:-1].tolist(), rel=1e-6)
    assert lowest.values == pytest.approx([-exact[0]], rel=1e-6) and exact[0] < 0
    assert max(largest.residuals + lowest.residuals) < 1e-6
    # The variance of Hutchinson's estimate with random signs is twice the squares off the diagonal.
    deviation = math.sqrt(2 * (np.sum(expected**2) - np.sum(np.diag(expected)**2)) / 40)
    assert abs(mean - np.trace(expected)) < 3 * deviation
    assert error == pytest.approx(deviation, rel=0.5)


def test_batches_count_alike(classifier):
    batches = [draw(0), draw(1, images=3)]
    expected = np.mean([dense(classifier, [batch])[0] for batch in batches], axis=0)
    vectors, done = np.random.default_rng(0).standard_normal((len(expected), 3)), []
    with loss_hessian(classifier, batches, progress=done.append) as hessian:
        np.testing.assert_allclose(hessian @ vectors, expected @ vectors, rtol=1e-8, atol=1e-9)
    assert done == [1, 2, 3]


def test_frozen_weights_are_constants(classifier):
    whole, _ = dense(classifier, [draw(0)])
    sizes = {name: weight.numel() for name, weight in classifier.named_parameters()}
    kept = np.repeat([not name.startswith('backbone') for name in sizes], list(sizes.values()))
    classifier.backbone.requires_grad_(False)
    with loss_hessian(classifier, [draw(0)]) as hessian:
        np.testing.assert_allclose(hessian @ np.eye(kept.sum()), whole[np.ix_(kept, kept)], rtol=1e-8, atol=1e-9)
    classifier.requires_grad_(False)
    with pytest.raises(SetupError, match='ImageClassifier has no weights that are trained'):
        with loss_hessian(classifier, [draw(0)]):
            pass


def test_the_network_is_left_as_it_was(classifier):
    state = {name: value.clone() for name, value in classifier.state_dict().items()}
    batch = draw(0)
    random, inputs = torch.get_rng_state(), batch['inputs'].clone()
    with loss_hessian(classifier, [batch]) as hessian:
        largest_eigenvalues(hessian)
        trace(hessian, 2)
    assert all(torch.equal(value, state[name]) for name, value in classifier.state_dict().items())
    assert all(weight.grad is None for weight in classifier.parameters()) and classifier.training
    assert torch.equal(torch.get_rng_state(), random) and torch.equal(batch['inputs'], inputs)


def test_networks_that_save_memory_by_checkpointing(classifier):
    expected, _ = dense(classifier, [draw(0)])
    classifier.backbone.with_cp = True
    vector = np.random.default_rng(0).standard_normal(len(expected))
    with loss_hessian(classifier, [draw(0)]) as hessian:
        np.testing.assert_allclose(hessian @ vector, expected @ vector, rtol=1e-9, atol=1e-10)
    assert classifier.backbone.with_cp


def test_dropout_and_mixup_are_drawn_once(device):
    model = MODELS.build(dict(
        type='ImageClassifier',
        data_preprocessor=dict(num_classes=3, mean=[128] * 3, std=[64] * 3),
        train_cfg=dict(augments=dict(type='Mixup', alpha=1.)),
        backbone=Convolution(),
        neck=dict(type='mmgcp.GlobalCovariancePooling', in_channels=3, reduced_channels=8),
        head=dict(type='mmgcp.DropoutLinearClsHead', num_classes=3, in_channels=36, dropout_rate=0.5,
                  loss=dict(type='CrossEntropyLoss', use_soft=True)))).double().to(device).train()
    results = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        np.random.seed(seed)
        with loss_hessian(model, [draw(0), draw(1)]) as hessian:
            vector = np.ones(hessian.shape[0])
            first = hessian @ vector
            np.random.random()
            torch.rand(1)
            assert np.array_equal(hessian @ vector, first)
            results.append((hessian.loss, first))
    assert results[0][0] == results[1][0] and np.array_equal(results[0][1], results[1][1])
    assert results[0][0] != results[2][0]


class Polynomial(BaseModel):
    """Loss ``sum_i curvatures_i w_i^2 / 2 + scale * unbent``, whose Hessian is diagonal."""

    def __init__(self, curvatures, dtype=torch.float64):
        super().__init__(BaseDataPreprocessor())
        self.register_buffer('curvatures', torch.as_tensor(curvatures, dtype=dtype))
        self.bent = nn.Parameter(torch.ones(len(curvatures), dtype=dtype))
        self.unbent = nn.Parameter(torch.ones(1, dtype=dtype))
        self.unused = nn.Parameter(torch.ones(1, dtype=dtype))

    def forward(self, inputs, data_samples=None, mode='loss'):
        return dict(loss=(self.curvatures * self.bent**2).sum() / 2 + 3 * self.unbent.sum())


BATCH = dict(inputs=torch.zeros(2, 1))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_a_diagonal_quadratic(dtype, device):
    curvatures = np.arange(-9., 31.)
    model = Polynomial(curvatures, dtype).to(device)
    with loss_hessian(model, [BATCH]) as hessian:
        assert hessian.dtype == (np.float32 if dtype == torch.float32 else np.float64)
        np.testing.assert_array_equal(hessian @ np.ones(42), [*curvatures, 0, 0])
        assert trace(hessian, 3) == (curvatures.sum(), 0)
        assert largest_eigenvalues(hessian, 4, tolerance=0).values == pytest.approx([30, 29, 28, 27], rel=1e-5)
        assert largest_eigenvalues(-hessian, 2, tolerance=0).values == pytest.approx([9, 8], rel=1e-5)


def test_a_linear_loss_has_no_curvature():
    model = Polynomial([])
    with loss_hessian(model, [BATCH]) as hessian:
        assert np.array_equal(hessian @ np.ones(2), [0, 0])
        assert trace(hessian, 2) == (0, 0)
        assert largest_eigenvalues(hessian) == ([0], [0])


def test_what_has_not_converged_is_missing():
    matrix = aslinearoperator(np.diag(np.concatenate([np.linspace(0, 1, 999), [50.]])))
    found = largest_eigenvalues(matrix, 3, tolerance=1e-8, max_restarts=1)
    assert found.values == pytest.approx([50]) and len(found.residuals) == 1
    found = largest_eigenvalues(aslinearoperator(np.diag(np.linspace(0, 1, 1000))), 2, max_restarts=1, tolerance=1e-12)
    assert found == ([], [])


def test_start_vector_and_samples_are_seeded():
    matrix = np.random.default_rng(0).standard_normal((60, 60))
    matrix = aslinearoperator(matrix + matrix.T)
    assert largest_eigenvalues(matrix, 2, seed=1) == largest_eigenvalues(matrix, 2, seed=1)
    assert largest_eigenvalues(matrix, 2, seed=1) != largest_eigenvalues(matrix, 2, seed=2)
    assert trace(matrix, 5, seed=1) == trace(matrix, 5, seed=1) != trace(matrix, 5, seed=2)


def test_nan_weights_and_overflow_are_told_with_their_place():
    model = Polynomial([1., 2.], torch.float32)
    with loss_hessian(model, [BATCH, BATCH]) as hessian:
        model.curvatures[1] = 2e38
        model.bent.data[1] = 1e-30
        with pytest.raises(NonFiniteCurvatureError, match=r'the Hessian of batch 1 of 2 overflows at bent \(1 of 3 '
                                                          r'weights\), where the loss is 3.5'):
            hessian @ np.full(4, 2.)
        model.bent.data[0] = float('nan')
        with pytest.raises(NonFiniteCurvatureError, match='the loss of batch 1 of 2 is nan, so it has no curvature'):
            hessian @ np.ones(4)


class Once(torch.autograd.Function):

    @staticmethod
    def forward(ctx, x):
        return x**2

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        return grad * 2


def test_layers_that_cannot_be_differentiated_twice():
    model = Polynomial([1.])
    model.forward = lambda inputs, mode: dict(loss=Once.apply(model.bent).sum()**2)
    with loss_hessian(model, [BATCH]) as hessian:
        with pytest.raises(SetupError, match=r'Polynomial cannot be differentiated twice \(.*once_differentiable'):
            hessian @ np.ones(3)


def test_memory_that_runs_out_is_told():
    def exhaust(**_):
        raise torch.cuda.OutOfMemoryError('CUDA out of memory')

    model = Polynomial([1.])
    model.forward = exhaust
    with loss_hessian(model, [BATCH]) as hessian:
        with pytest.raises(SetupError, match='too little memory for the second derivatives of a batch of 2 images'):
            hessian @ np.ones(3)


def test_settings_out_of_range():
    model = Polynomial([1.])
    with pytest.raises(ValueError, match='at least one batch'), loss_hessian(model, []):
        pass
    with loss_hessian(model, [BATCH]) as hessian:
        for number in (0, 3):
            with pytest.raises(ValueError, match=f'{number} eigenvalues .* of a 3 x 3 Hessian: ask for 1 to 2'):
                largest_eigenvalues(hessian, number)
        with pytest.raises(ValueError, match='samples=1 must be at least 2'):
            trace(hessian, 1)


def test_hessian_vector_product_of_one_batch(classifier):
    weights = list(trained_weights(classifier).values())
    vectors = [torch.randn_like(weight) for weight in weights]
    with undisturbed(classifier):
        data = preprocess(classifier, draw(0))
        loss, product = hessian_vector_product(classifier, data, weights, vectors)
        assert loss == training_loss(classifier, data) and not loss.requires_grad
        # By finite differences of the gradient along the vector.
        step, gradients = 1e-5, []
        for sign in (1, -1):
            with torch.no_grad():
                for weight, vector in zip(weights, vectors, strict=True):
                    weight += sign * step * vector
            gradients.append(torch.autograd.grad(training_loss(classifier, data), weights))
            with torch.no_grad():
                for weight, vector in zip(weights, vectors, strict=True):
                    weight -= sign * step * vector
    for part, up, down in zip(product, *gradients, strict=True):
        torch.testing.assert_close(part, (up - down) / (2 * step), rtol=1e-4, atol=1e-6)
