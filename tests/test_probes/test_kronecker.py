import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, grad, vmap

from mmgcp.probes.kronecker import (
    gradient_matrix,
    input_factor,
    inverses,
    is_supported,
    output_factor,
    positions,
    precondition,
    split_matrix,
)

CONVOLUTIONS = [
    dict(kernel_size=1), dict(kernel_size=3, padding=1, bias=False), dict(kernel_size=(3, 2), stride=(2, 1), padding=2),
    dict(kernel_size=3, dilation=2, padding='same'), dict(kernel_size=2, padding='same'),
    dict(kernel_size=2, padding='valid'),
]


def kron(a, b):
    """A (x) G in the basis of the matrix W (out, d) with its columns one below the other."""
    return torch.kron(a.contiguous(), b.contiguous())


def column_stack(matrix):
    return matrix.T.reshape(-1)


def per_example_gradients(model, layer, x, y):
    """Rows: the gradients of the examples' own losses in one layer, columns of its matrix one below the other."""
    parameters = dict(model.named_parameters())

    def loss(parameters, x, y):
        return F.cross_entropy(functional_call(model, parameters, x[None]), y[None])

    gradients = vmap(grad(loss), (None, 0, 0))(parameters, x, y)
    name = next(name for name, module in model.named_modules() if module is layer)
    weight, bias = (gradients.get(f'{name}.{kind}'.lstrip('.')) for kind in ('weight', 'bias'))
    biases = [None] * len(x) if bias is None else bias
    return torch.stack([column_stack(gradient_matrix(layer, w, b)) for w, b in zip(weight, biases, strict=True)])


def factors(model, layer, x, y):
    """Factors from a training step on the mean loss, as the optimizer wrapper takes them."""
    kept = {}
    handle = layer.register_forward_hook(lambda _, inputs, output: kept.update(x=inputs[0], s=output))
    loss = F.cross_entropy(model(x), y)
    handle.remove()
    gradient, = torch.autograd.grad(loss, kept['s'])
    return input_factor(layer, kept['x']), output_factor(layer, gradient)


@pytest.mark.parametrize('module, supported', [
    (nn.Linear(2, 2), True), (nn.Conv2d(4, 4, 3, 2, 1), True), (nn.Conv2d(4, 4, 3, padding='same', dilation=2), True),
    (nn.Conv2d(4, 4, 3, groups=2), False), (nn.Conv2d(4, 4, 3, padding=1, padding_mode='reflect'), False),
    (nn.Conv1d(4, 4, 3), False), (nn.BatchNorm2d(4), False), (nn.MultiheadAttention(4, 2).out_proj, False),
])
def test_supported_layers(module, supported):
    assert is_supported(module) is supported


@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('shape', [(4, ), (4, 5), (4, 2, 3)])
def test_linear_factors_are_sums_over_examples_and_positions(shape, bias, device):
    layer = nn.Linear(3, 2, bias=bias).double().to(device)
    x, gradient = (torch.randn(*shape, size, dtype=torch.float64, device=device) for size in (3, 2))
    a, g = (torch.zeros(size, size, dtype=x.dtype, device=device) for size in (3 + bias, 2))
    tokens = 0
    for example, slopes in zip(x.reshape(4, -1, 3), 4 * gradient.reshape(4, -1, 2), strict=True):
        for row, slope in zip(example, slopes, strict=True):
            row = torch.cat([row, row.new_ones(int(bias))])
            a += torch.outer(row, row) / 4
            g += torch.outer(slope, slope)
            tokens += 1
    torch.testing.assert_close(input_factor(layer, x), a)
    torch.testing.assert_close(output_factor(layer, gradient), g / tokens)
    assert positions(layer, gradient) * 4 == tokens


@pytest.mark.parametrize('settings', CONVOLUTIONS)
def test_convolution_factors_are_sums_over_examples_and_patches(settings, device):
    layer = nn.Conv2d(2, 3, **settings).double().to(device)
    x = torch.randn(2, 2, 6, 5, dtype=torch.float64, device=device)
    gradient = torch.randn_like(layer(x))
    # A convolution with the d unit matrices as kernels shows each number of each patch as a channel.
    size = layer.weight[0].numel()
    units = torch.eye(size, dtype=x.dtype, device=device).view(size, *layer.weight.shape[1:])
    patches = F.conv2d(x, units, stride=layer.stride, padding=layer.padding, dilation=layer.dilation)
    a = torch.zeros(size + (layer.bias is not None), size + (layer.bias is not None), dtype=x.dtype, device=device)
    g = torch.zeros(3, 3, dtype=x.dtype, device=device)
    height, width = gradient.shape[2:]
    for example in range(2):
        for i in range(height):
            for j in range(width):
                row = torch.cat([patches[example, :, i, j], x.new_ones(int(layer.bias is not None))])
                a += torch.outer(row, row) / 2
                slope = 2 * gradient[example, :, i, j]
                g += torch.outer(slope, slope) / (2 * height * width)
    torch.testing.assert_close(input_factor(layer, x), a)
    torch.testing.assert_close(output_factor(layer, gradient), g)
    assert positions(layer, gradient) == height * width


def test_matrix_of_a_convolution_times_its_patches_is_its_output(device):
    """The order of the columns is that of the factor."""
    layer = nn.Conv2d(2, 3, 3, padding=1).double().to(device)
    x = torch.randn(1, 2, 1, 1, dtype=torch.float64, device=device)
    matrix = gradient_matrix(layer, layer.weight, layer.bias)
    output = layer(x).flatten()
    a = input_factor(layer, x)
    torch.testing.assert_close(matrix @ a @ matrix.T, torch.outer(output, output))


@pytest.mark.parametrize('layer', [nn.Linear(3, 2), nn.Conv2d(2, 3, (3, 2)), nn.Conv2d(2, 3, 1, bias=False)])
def test_matrix_splits_into_weight_and_bias(layer):
    weights = list(layer.parameters())
    parts = split_matrix(layer, gradient_matrix(layer, *weights))
    assert len(parts) == len(weights) and all(torch.equal(a, b) for a, b in zip(parts, weights, strict=True))


def test_block_of_one_example_is_exact(device):
    """Linear layers inside a network and a convolution that sees one position."""
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3))
    model = model.double().to(device)
    x, y = torch.randn(1, 2, 3, 3, dtype=torch.float64, device=device), torch.tensor([2], device=device)
    for layer in (model[0], model[3], model[5]):
        rows = per_example_gradients(model, layer, x, y)
        torch.testing.assert_close(kron(*factors(model, layer, x, y)), rows.T @ rows)


def test_block_is_exact_where_inputs_and_gradients_are_independent(device):
    """Every input with every gradient: the loss <c, W a> has the gradient c whatever the input."""
    layer = nn.Linear(3, 2).double().to(device)
    inputs, slopes = (torch.randn(4, size, dtype=torch.float64, device=device) for size in (3, 2))
    x, c = inputs.repeat_interleave(4, 0), slopes.repeat(4, 1)
    output = layer(x)
    gradient, = torch.autograd.grad((output * c).sum(1).mean(), output)
    rows = torch.stack([column_stack(torch.outer(b, torch.cat([a, a.new_ones(1)]))) for a, b in zip(x, c, strict=True)])
    torch.testing.assert_close(kron(input_factor(layer, x), output_factor(layer, gradient)), rows.T @ rows / 16)


def test_positions_that_do_not_correlate_add_up(device):
    """With gradients of random signs per position, E[sum_t g_t a_t^T sum_u ...] = A (x) G."""
    layer = nn.Linear(2, 2, bias=False).double().to(device)
    tokens, signs = torch.randn(1, 3, 2, dtype=torch.float64, device=device), torch.tensor([1., -1.], device=device)
    signs = torch.cartesian_prod(signs, signs, signs).double()  # (8, 3): all signs of three positions
    slope = torch.randn(2, dtype=torch.float64, device=device)
    own = signs[..., None] * slope  # gradients of the examples' own losses
    exact = torch.stack([column_stack(g.T @ tokens[0]) for g in own])
    a, g = input_factor(layer, tokens.expand(8, -1, -1)), output_factor(layer, own / 8)
    torch.testing.assert_close(kron(a, g), exact.T @ exact / 8)


def test_loss_scale_is_taken_out(device):
    layer, gradient = nn.Linear(3, 2).to(device), torch.randn(4, 2, device=device)
    torch.testing.assert_close(output_factor(layer, 0.25 * gradient, 0.25), output_factor(layer, gradient))


def test_half_precision_is_summed_in_float32(device):
    layer = nn.Linear(1, 1, bias=False).to(device)
    x = torch.full((4096, 1), 300., dtype=torch.float16, device=device)
    assert input_factor(layer, x).item() == pytest.approx(90000, rel=1e-4)  # beyond float16
    assert output_factor(layer, x / 4096).item() == pytest.approx(90000, rel=1e-2)


@pytest.mark.parametrize('damping', [1e-3, 0.1, 10.])
def test_preconditioning_solves_the_damped_block(damping, device):
    a, g = (torch.randn(9, size, dtype=torch.float64, device=device) for size in (4, 3))
    a, g = a.T @ a * 50, g.T @ g / 100
    matrix = torch.randn(3, 4, dtype=torch.float64, device=device)
    pi = ((a.trace() / 4) / (g.trace() / 3))**0.5
    eye_a, eye_g = (torch.eye(size, dtype=torch.float64, device=device) for size in (4, 3))
    block = kron(a + pi * damping**0.5 * eye_a, g + damping**0.5 / pi * eye_g)
    expected = torch.linalg.solve(block, column_stack(matrix))
    torch.testing.assert_close(column_stack(precondition(matrix, *inverses(a, g, damping))), expected)


def test_undamped_inverse_is_that_of_the_exact_block(device):
    a, g = (torch.randn(9, size, dtype=torch.float64, device=device) for size in (4, 3))
    a, g, matrix = a.T @ a, g.T @ g, torch.randn(3, 4, dtype=torch.float64, device=device)
    expected = torch.linalg.solve(kron(a, g), column_stack(matrix))
    torch.testing.assert_close(column_stack(precondition(matrix, *inverses(a, g, 0.))), expected)


def test_the_scale_of_one_factor_may_move_to_the_other(device):
    """Only the product counts, as only it belongs to the Fisher matrix."""
    a, g = (torch.randn(9, size, dtype=torch.float64, device=device) for size in (4, 3))
    a, g, matrix = a.T @ a, g.T @ g, torch.randn(3, 4, dtype=torch.float64, device=device)
    moved = precondition(matrix, *inverses(a * 1e4, g / 1e4, 0.1))
    torch.testing.assert_close(moved, precondition(matrix, *inverses(a, g, 0.1)))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_factors_of_zeros_are_damped_alone(dtype, device):
    a, g = torch.eye(3, dtype=dtype, device=device) * 2, torch.zeros(2, 2, dtype=dtype, device=device)
    for x, y in ((a, g), (g, a)):
        left, right = inverses(x, y, 0.25)
        assert left.dtype == dtype
        for factor, inverse in ((x, left), (y, right)):
            expected = torch.eye(len(factor), dtype=dtype, device=device) / (factor[0, 0] + 0.5)
            torch.testing.assert_close(inverse, expected)


def test_factors_that_cannot_be_inverted():
    eye = torch.eye(2)
    for a, g in ((eye * float('nan'), eye), (eye, eye * float('inf'))):
        with pytest.raises(ValueError, match='factors are not finite'):
            inverses(a, g, 0.1)
    with pytest.raises(ValueError, match='size 2 with 0 on its diagonal is not positive definite in torch.float32'):
        inverses(torch.ones(2, 2), eye, 0.)


@pytest.mark.parametrize('layer, shape', [(nn.Linear(2, 2), (2, )), (nn.Linear(2, 2), (0, 2)),
                                          (nn.Conv2d(2, 2, 1), (2, 3, 3))])
def test_factors_are_means_over_examples(layer, shape):
    for factor in (input_factor, output_factor):
        with pytest.raises(ValueError, match=r'means over examples, but \w+ got \('):
            factor(layer, torch.ones(shape))
