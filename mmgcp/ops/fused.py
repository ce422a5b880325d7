r"""Newton-Schulz steps in one Triton kernel, for matrices up to 64 x 64, such as the Gram matrices of 8 x 8 pixels.

The products of such small matrices take a GPU less time than launching them. Here one program does all steps of one
image: from ``s = K / t`` and ``Z = I``,

    T = (3 I - s) / 2,   Z <- Z T,   s <- s T^2.

(The pairs of steps of :mod:`mmgcp.ops.newton_schulz`, which evaluates the same polynomial, save launches above all.)
The matrix is padded with zeros to a side of 16, 32 or 64. The padding stays out of the result: ``s`` and ``ds`` keep
their zero blocks, so that ``T`` and ``Z`` stay block diagonal.

The kernels compute in float32 throughout, ``input_precision='ieee'``: the 10 mantissa bits of TF32, Triton's default
for products, would cost the accuracy that the package promises. They take ``s`` itself rather than ``u = I - s``, whose
steps ``u^2 (3 I + u) / 4`` take as many products: the eigenvalues of ``s`` average ``1 / N``, and the rounding error of
``I - s``, large beside them, grows by up to 9/4 per step. Five steps on 64 x 64 matrices erred by 8e-7 instead of 4e-7.

The kernels are registered as custom operators, which Dynamo, AOTAutograd and export pass through unopened, and which
vmap batches. That takes torch 2.5, and Triton 3.0 for the options of the product. Triton builds the code that launches
them with a C compiler and Python's headers. Without all these this module still imports, and :func:`fused_available` is
False.
"""
from __future__ import annotations  # those of the kernels must not be evaluated where Triton is missing

import os
import shutil
import sysconfig

import torch
from torch import Tensor

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

MAX_SIZE = 64
# As Triton looks for them at the first launch, but at import: Dynamo traces fused_available. Where the default scheme
# is Debian's own, which lacks the headers, Triton takes this one too.
_COMPILES_C = (
    bool(os.environ.get('CC') or shutil.which('gcc') or shutil.which('clang'))
    and os.path.exists(os.path.join(sysconfig.get_path('include', 'posix_prefix'), 'Python.h')))
# ROCm's Triton knows other launch options.
_SUPPORTED = (
    triton is not None and int(triton.__version__.split('.')[0]) >= 3 and hasattr(torch.library, 'register_vmap')
    and torch.version.hip is None)


def fused_available(matrix: Tensor) -> bool:
    """Whether the kernels of this module take ``matrix``.

    Args:
        matrix (Tensor): (..., N, N).

    Returns:
        bool: True for float32 with N up to 64 on a CUDA device from Volta on, if Triton and torch are new enough and
            Triton finds a C compiler and Python's headers.
    """
    return (
        _SUPPORTED and _COMPILES_C and matrix.is_cuda and matrix.dtype == torch.float32 and matrix.shape[-1] <= MAX_SIZE
        and torch.cuda.get_device_properties(matrix.device).major >= 7)


def fused_root(normed: Tensor, num_iters: int) -> Tensor:
    """Root ``Z(s)`` after ``num_iters`` steps from ``Z = I``: ``T = (3 I - s) / 2``, ``Z <- Z T``, ``s <- s T^2``.

    Not differentiable. Call it only where :func:`fused_available`.

    Args:
        normed (Tensor): ``s``, (B, N, N), float32, symmetric, trace 1.
        num_iters (int): Steps, at least 1. Each number compiles its own kernel.

    Returns:
        Tensor: (B, N, N), float32, contiguous.
    """
    return torch.ops.mmgcp.newton_schulz_root(normed, num_iters)


def fused_root_with_derivative(normed: Tensor, direction: Tensor, num_iters: int) -> tuple[Tensor, Tensor]:
    """:func:`fused_root` and its derivative in a symmetric direction, on dual numbers.

    Independent of earlier calls of :func:`fused_root`. Not differentiable. Call it only where :func:`fused_available`.

    Args:
        normed (Tensor): ``s``, (B, N, N), float32, symmetric, trace 1.
        direction (Tensor): ``ds``, (B, N, N), float32, symmetric.
        num_iters (int): Steps, at least 1. Each number compiles its own kernel.

    Returns:
        tuple[Tensor, Tensor]: ``Z(s)`` and its derivative, both (B, N, N), float32, contiguous.
    """
    return torch.ops.mmgcp.newton_schulz_root_with_derivative(normed, direction, num_iters)


def _jit(function):
    return triton.jit(function) if _SUPPORTED else function


@_jit
def _product(a, b):
    """``a b``. Sides of 64 are summed in two halves, which avoids register spills."""
    if a.shape[0] < 64:
        return tl.dot(a, b, input_precision='ieee')
    else:
        a_even, a_odd = tl.split(tl.reshape(a, (64, 32, 2)))
        b_even, b_odd = tl.split(tl.permute(tl.reshape(b, (32, 2, 64)), (0, 2, 1)))
        return tl.dot(a_odd, b_odd, acc=tl.dot(a_even, b_even, input_precision='ieee'), input_precision='ieee')


@_jit
def _root_kernel(normed, root, size, SIDE: tl.constexpr, NUM_ITERS: tl.constexpr):
    """Program ``b`` turns ``normed[b]``, ``size`` x ``size``, into ``root[b]``. ``SIDE``: the padded size."""
    image = tl.program_id(0).to(tl.int64) * size * size
    row, column = tl.arange(0, SIDE)[:, None], tl.arange(0, SIDE)[None, :]
    inside = (row < size) & (column < size)
    identity = tl.where(row == column, 1., 0.)

    s = tl.load(normed + image + (row * size + column), mask=inside, other=0.)
    t = 1.5 * identity - 0.5 * s
    z = t
    for _ in range(NUM_ITERS - 1):
        s = _product(s, _product(t, t))
        t = 1.5 * identity - 0.5 * s
        z = _product(z, t)
    tl.store(root + image + (row * size + column), z, mask=inside)


@_jit
def _root_with_derivative_kernel(
        normed, direction, root, droot, size, SIDE: tl.constexpr, NUM_ITERS: tl.constexpr):
    """As :func:`_root_kernel`, with the derivative in the direction ``direction[b]`` into ``droot[b]``.

    Triton keeps the operand of a product in registers until the last product with the same operand on the same side.
    Hence no matrix stands on one side of two products far from each other: that decides between ``T`` and ``2 T``,
    and between left and right where matrices commute.
    """
    image = tl.program_id(0).to(tl.int64) * size * size
    row, column = tl.arange(0, SIDE)[:, None], tl.arange(0, SIDE)[None, :]
    inside = (row < size) & (column < size)
    identity = tl.where(row == column, 1., 0.)

    s = tl.load(normed + image + (row * size + column), mask=inside, other=0.)
    dt = -0.5 * tl.load(direction + image + (row * size + column), mask=inside, other=0.)
    z, dz = 1.5 * identity - 0.5 * s, dt
    for _ in range(NUM_ITERS - 1):
        # d(s T^2) = W + W^T, with P = T dT and W^T = 3 P^T - (2 P^T + P) T. Here P and W are doubled.
        t, twice_t = 1.5 * identity - 0.5 * s, 3. * identity - s
        p = _product(twice_t, dt)
        square = _product(t, twice_t)
        w = 3. * tl.trans(p) - _product(2. * tl.trans(p) + p, t)
        s = 0.5 * _product(s, square)
        dt = -0.25 * (w + tl.trans(w))

        next_t = 1.5 * identity - 0.5 * s
        dz = _product(dz, next_t) + _product(z, dt)
        z = _product(next_t, z)
    tl.store(root + image + (row * size + column), z, mask=inside)
    tl.store(droot + image + (row * size + column), dz, mask=inside)


def _options(size: int) -> dict:
    """Launch options. ``maxnreg`` lets a program use all registers of a multiprocessor rather than spill."""
    side = max(16, 1 << (size - 1).bit_length())
    return {'SIDE': side, 'num_warps': 8 if side == 64 else 4, 'maxnreg': 255}


def _launch(kernel, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], num_iters: int) -> None:
    batch, size = inputs[0].shape[:2]
    inputs = [matrix.contiguous() for matrix in inputs]
    with torch.cuda.device_of(inputs[0]):
        kernel[(batch, )](*inputs, *outputs, size, NUM_ITERS=num_iters, **_options(size))


def _empty_like(matrix: Tensor) -> Tensor:
    return torch.empty_like(matrix, memory_format=torch.contiguous_format)


def _without_vmap(info, in_dims: tuple, *matrices: Tensor) -> list[Tensor]:
    """Matrices (B, N, N) with a dimension of vmap, of size V, or None: as (V B, N, N)."""
    return [
        (matrix.expand(info.batch_size, *matrix.shape) if dim is None else matrix.movedim(dim, 0)).flatten(0, 1)
        for matrix, dim in zip(matrices, in_dims, strict=False)
    ]


if _SUPPORTED:

    @torch.library.custom_op(
        'mmgcp::newton_schulz_root', mutates_args=(), schema='(Tensor normed, int num_iters) -> Tensor')
    def _root(normed, num_iters):
        root = _empty_like(normed)
        _launch(_root_kernel, (normed, ), (root, ), num_iters)
        return root

    @_root.register_fake
    def _(normed, num_iters):
        return _empty_like(normed)

    @_root.register_vmap
    def _(info, in_dims, normed, num_iters):
        root = fused_root(*_without_vmap(info, in_dims, normed), num_iters)
        return root.unflatten(0, (info.batch_size, -1)), 0

    @torch.library.custom_op(
        'mmgcp::newton_schulz_root_with_derivative', mutates_args=(),
        schema='(Tensor normed, Tensor direction, int num_iters) -> (Tensor, Tensor)')
    def _root_with_derivative(normed, direction, num_iters):
        root, droot = _empty_like(normed), _empty_like(normed)
        _launch(_root_with_derivative_kernel, (normed, direction), (root, droot), num_iters)
        return root, droot

    @_root_with_derivative.register_fake
    def _(normed, direction, num_iters):
        return _empty_like(normed), _empty_like(normed)

    @_root_with_derivative.register_vmap
    def _(info, in_dims, normed, direction, num_iters):
        out = fused_root_with_derivative(*_without_vmap(info, in_dims, normed, direction), num_iters)
        return tuple(matrix.unflatten(0, (info.batch_size, -1)) for matrix in out), (0, 0)
