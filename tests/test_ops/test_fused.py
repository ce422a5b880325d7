"""The kernels are compared with float64 on a CUDA device if there is one, and in Triton's interpreter, on the CPU, in a
process of its own: Triton reads TRITON_INTERPRET when the kernels are defined."""
import os
import runpy
import subprocess
import sys
import sysconfig
from types import SimpleNamespace

import pytest
import torch

from mmgcp.ops import CovariancePooling, covariance_pool, fused, newton_schulz
from mmgcp.ops.compat import COMPILES_FUNCTIONS
from mmgcp.ops.fused import fused_available, fused_root, fused_root_with_derivative
from mmgcp.ops.newton_schulz import _steps

from .reference import relative_error

INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
DEVICE = 'cpu' if INTERPRETED else 'cuda'
SIZES = [1, 5, 16, 33, 49, 64]
ITERS = [1, 2, 5]

needs_recent_triton = pytest.mark.skipif(
    not fused._SUPPORTED or tuple(map(int, fused.triton.__version__.split('.')[:2])) < (3, 6),
    reason='needs the interpreter and the compiler as they are since Triton 3.6')
runs_kernels = pytest.mark.skipif(
    not fused._SUPPORTED or not (INTERPRETED or torch.cuda.is_available()),
    reason='needs CUDA or the interpreter of Triton 3')


def arguments(size, batch=3, channels=64):
    """Gram matrices of trace 1 and symmetric directions, in float32. More channels, or else many zero eigenvalues."""
    features = torch.randn(batch, channels, size, dtype=torch.float64).relu()
    gram = features.mT @ features
    normed = gram / gram.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
    direction = torch.randn(batch, size, size, dtype=torch.float64)
    return normed.float().to(DEVICE), (direction + direction.mT).float().to(DEVICE)


def root_in_float64(normed, num_iters):
    """Through the eigenvalues of ``normed``, and with autograd."""
    values, vectors = torch.linalg.eigh(normed.double())
    return (vectors * polynomial(values, num_iters)[:, None]) @ vectors.mT


def polynomial(s, num_iters):
    z = torch.ones_like(s)
    for _ in range(num_iters):
        t = (3 - s) / 2
        z, s = z * t, s * t**2
    return z


def derivative_in_float64(normed, direction, num_iters):
    """Off the diagonal of the eigenvectors' basis, divided differences; on it, the polynomial's derivative."""
    values, vectors = torch.linalg.eigh(normed.double())
    with torch.enable_grad():
        values.requires_grad_()
        roots = polynomial(values, num_iters)
        slopes = torch.autograd.grad(roots.sum(), values)[0]
    values, roots = values.detach(), roots.detach()
    gaps = values[:, :, None] - values[:, None]
    same = gaps.abs() < 1e-7
    quotients = (roots[:, :, None] - roots[:, None]) / gaps.masked_fill(same, 1)
    quotients = torch.where(same, (slopes[:, :, None] + slopes[:, None]) / 2, quotients)
    return vectors @ (quotients * (vectors.mT @ direction.double() @ vectors)) @ vectors.mT


@runs_kernels
@pytest.mark.parametrize('channels', [8, 64])
@pytest.mark.parametrize('num_iters', ITERS)
@pytest.mark.parametrize('size', SIZES)
def test_values(size, num_iters, channels):
    normed, direction = arguments(size, channels=channels)
    expected = root_in_float64(normed, num_iters)
    expected_derivative = derivative_in_float64(normed, direction, num_iters)
    root = fused_root(normed, num_iters)
    again, derivative = fused_root_with_derivative(normed, direction, num_iters)
    assert relative_error(root, expected) < 2e-6
    assert relative_error(again, expected) < 2e-6
    assert relative_error(derivative, expected_derivative) < 5e-6

    plain, plain_derivative = torch.func.jvp(lambda s: _steps(s, num_iters)[0], (normed, ), (direction, ))
    assert relative_error(root, plain) < 2e-6
    assert relative_error(derivative, plain_derivative) < 5e-6


@runs_kernels
def test_derivative_is_that_of_the_root():
    normed, direction = (matrix.double() for matrix in arguments(49))
    step = 1e-6
    difference = root_in_float64(normed + step * direction, 5) - root_in_float64(normed - step * direction, 5)
    derivative = fused_root_with_derivative(normed.float(), direction.float(), 5)[1]
    assert relative_error(derivative, difference / (2 * step)) < 1e-5


@runs_kernels
def test_strides_and_empty_batch():
    normed, direction = arguments(5, batch=4)
    expected = fused_root_with_derivative(normed[::2].clone(), direction[::2].clone(), 3)
    actual = fused_root_with_derivative(normed[::2].mT, direction[::2], 3)
    for matrix, other in zip(actual, expected, strict=True):
        assert matrix.is_contiguous()
        torch.testing.assert_close(matrix, other, rtol=1e-6, atol=1e-7)
    assert fused_root(normed[:0], 3).shape == (0, 5, 5)


@runs_kernels
def test_operators_are_registered_properly():
    normed, direction = arguments(5)
    tests = ('test_schema', 'test_faketensor')
    torch.library.opcheck(torch.ops.mmgcp.newton_schulz_root.default, (normed, 2), test_utils=tests)
    torch.library.opcheck(
        torch.ops.mmgcp.newton_schulz_root_with_derivative.default, (normed, direction, 2), test_utils=tests)


@runs_kernels
def test_vmap():
    normed, direction = (torch.stack(parts, 1) for parts in zip(arguments(5), arguments(5), strict=True))
    roots = torch.vmap(fused_root, in_dims=(1, None))(normed, 2)
    pairs = torch.vmap(fused_root_with_derivative, in_dims=(None, 1, None))(normed[:, 0], direction, 2)
    for i in range(2):
        assert torch.equal(roots[i], fused_root(normed[:, i], 2))
        root, derivative = fused_root_with_derivative(normed[:, 0], direction[:, i], 2)
        assert torch.equal(pairs[0][i], root)
        assert torch.equal(pairs[1][i], derivative)


@runs_kernels
def test_dynamo_takes_them_whole():
    normed, direction = arguments(5)

    def function(normed, direction):
        root, derivative = fused_root_with_derivative(2 * normed, direction, 2)
        return fused_root(normed, 2) @ root, derivative

    compiled = torch.compile(function, backend='aot_eager', fullgraph=True)
    for actual, expected in zip(compiled(normed, direction), function(normed, direction), strict=True):
        torch.testing.assert_close(actual, expected)


@pytest.fixture
def counted(monkeypatch):
    """How often pooling launches the kernels; on the CPU, lets it launch them in the interpreter."""
    launches = []
    launch = fused._launch
    monkeypatch.setattr(fused, '_launch', lambda kernel, *args: launches.append(kernel) or launch(kernel, *args))
    if INTERPRETED:
        monkeypatch.setattr(newton_schulz, 'fused_available',
                            lambda matrix: matrix.dtype == torch.float32 and matrix.shape[-1] <= fused.MAX_SIZE)
    return launches


@runs_kernels
@pytest.mark.parametrize('masked', [False, True])
@pytest.mark.parametrize('shape', [(24, 3, 3), (6, 5, 4)])
def test_pooling_uses_the_kernels(shape, masked, counted):
    x = torch.randn(2, *shape, device=DEVICE).relu().requires_grad_()
    mask = torch.rand(2, *shape[1:], device=DEVICE) < 0.8 if masked else None
    out = covariance_pool(x, mask=mask, vector=True)
    weight = torch.randn_like(out)
    grad, = torch.autograd.grad(out, x, weight)
    assert counted == [fused._root_kernel, fused._root_with_derivative_kernel]
    exact = x.detach().double().requires_grad_()
    expected = covariance_pool(exact, mask=mask, vector=True)
    assert relative_error(out, expected) < 2e-6
    assert relative_error(grad, torch.autograd.grad(expected, exact, weight.double())[0]) < 5e-6


@runs_kernels
@pytest.mark.parametrize('shape', [(72, 3, 3), (6, 9, 9)])
def test_inference_uses_the_kernel_on_either_side(shape, counted):
    x = torch.randn(2, *shape, device=DEVICE).relu()
    assert relative_error(covariance_pool(x), covariance_pool(x.double())) < 2e-6
    assert counted == [fused._root_kernel]


@runs_kernels
def test_pooling_without_gradients_and_under_transforms(counted):
    x = torch.randn(3, 24, 3, 3, device=DEVICE).relu()
    expected = covariance_pool(x.double()).float()
    with torch.no_grad():
        torch.testing.assert_close(covariance_pool(x), expected)
    assert counted == [fused._root_kernel]
    torch.testing.assert_close(torch.func.vmap(lambda image: covariance_pool(image[None])[0])(x), expected)

    def loss(image):
        return covariance_pool(image[None], vector=True).sin().sum()

    gradients = torch.func.vmap(torch.func.grad(loss))(x)
    torch.testing.assert_close(gradients, torch.func.vmap(torch.func.grad(loss))(x.double()).float())
    leaf = x.clone().requires_grad_()  # differentiated from outside, as landscapes do
    again, = torch.autograd.grad(torch.vmap(loss)(leaf).sum(), leaf)
    torch.testing.assert_close(again, gradients)
    small = x[0, :4, :2]
    torch.testing.assert_close(torch.func.hessian(loss)(small), torch.func.hessian(loss)(small.double()).float(),
                               rtol=1e-4, atol=1e-5)
    compiled = torch.compile(covariance_pool, backend='aot_eager', fullgraph=True)
    leaf = x.clone().requires_grad_()
    actual, = torch.autograd.grad(compiled(leaf, vector=True).sin().sum(), leaf)
    torch.testing.assert_close(actual, torch.stack([torch.func.grad(loss)(image) for image in x]))


@runs_kernels
@pytest.mark.skipif(not COMPILES_FUNCTIONS, reason='this torch does not tell export from torch.compile')
def test_exported_networks_do_without_the_kernels_others_do_not(counted):
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 24, 1), CovariancePooling(24)).to(DEVICE)
    x = torch.randn(2, 3, 3, 3, device=DEVICE)
    program = torch.export.export(network, (x, ), strict=False)
    assert 'ops.mmgcp' not in program.graph_module.print_readable(print_output=False)  # subgraphs, too
    torch.testing.assert_close(program.module()(x), network(x))
    counted.clear()
    torch.compile(network, backend='aot_eager', fullgraph=True)(x).sum().backward()
    assert counted == [fused._root_kernel, fused._root_with_derivative_kernel]


@needs_recent_triton
@pytest.mark.skipif(INTERPRETED, reason='runs in the interpreter already')
def test_in_the_interpreter():
    command = [sys.executable, '-m', 'pytest', '-q', '-rs', '-p', 'no:cacheprovider', '-k', 'not compile', __file__]
    run = subprocess.run(
        command, env={**os.environ, 'TRITON_INTERPRET': '1'}, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr
    assert f'{len(SIZES) * len(ITERS) * 2 + 14} passed' in run.stdout, run.stdout


@needs_recent_triton
@pytest.mark.skipif(INTERPRETED, reason='the interpreter compiles nothing')
@pytest.mark.parametrize(('size', 'capability'), [(16, 90), (32, 80), (64, 90)])
def test_compiles_without_tensor_cores(size, capability):
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    for kernel in (fused._root_kernel, fused._root_with_derivative_kernel):
        options = fused._options(size)
        constants = {'SIDE': options.pop('SIDE'), 'NUM_ITERS': 5}
        types = {name: '*fp32' for name in kernel.arg_names} | {'size': 'i32'} | dict.fromkeys(constants, 'constexpr')
        binary = triton.compile(
            ASTSource(kernel, types, constants), target=GPUTarget('cuda', capability, 32), options=options)
        assert 'fma.rn.f32' in binary.asm['ptx']
        assert 'mma' not in binary.asm['ptx'].replace('fma', '') and 'tf32' not in binary.asm['ptx']
        assert binary.metadata.shared <= 48 * 1024  # what every device grants


@pytest.mark.parametrize('missing', ['compiler', 'headers'])
def test_unavailable_where_triton_compiles_nothing(missing, monkeypatch, tmp_path):
    matrix = SimpleNamespace(is_cuda=True, dtype=torch.float32, shape=(1, 4, 4), device=None)
    monkeypatch.setattr(torch.cuda, 'get_device_properties', lambda _: SimpleNamespace(major=9))
    assert fused_available(matrix) == (fused._SUPPORTED and fused._COMPILES_C)
    if missing == 'compiler':
        monkeypatch.delenv('CC', raising=False)
        monkeypatch.setenv('PATH', str(tmp_path))
    else:
        monkeypatch.setattr(sysconfig, 'get_path', lambda *_: str(tmp_path))
    assert not runpy.run_path(fused.__file__)['fused_available'](matrix)


def test_available_on_cuda_only():
    assert not fused_available(torch.eye(4)[None])
    assert not fused_available(torch.eye(4)[None].double())


@runs_kernels
@pytest.mark.skipif(INTERPRETED, reason='is about CUDA')
def test_available_for_small_float32():
    matrix = torch.eye(64, device='cuda')[None]
    assert fused_available(matrix)
    assert not fused_available(matrix.double())
    assert not fused_available(torch.eye(65, device='cuda')[None])
