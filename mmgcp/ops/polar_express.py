r"""Converged square root of the covariance by matrix products, for GPUs and for ONNX, which lacks eigenvalues.

From ``Y = A = S / tr S`` and ``Z = I``, coupled as in iSQRT-COV, each step takes a quartic ``Q`` of two products,

    R = Z Y,   Y <- Y Q(R),   Z <- Q(R) Z,   Q(R) = a I + b R + c W^2,   W = R^2 + d R + e I,

chosen for the eigenvalues that the step before leaves. For an eigenvalue ``x^2`` of ``R`` it is ``x <- x Q(x^2)``, an
odd polynomial of degree 9, and the last ``x`` is to be 1. Among all compositions of such polynomials the greedy one is
best (Polar Express, Amsel et al., 2025, for the polar factor): each comes closest to 1 on ``[x_min, 1]``. It errs by up
to ``E``, with alternating sign, and is scaled to end at ``1 - E / 100``, which leaves room for rounding. Steps and
coefficients depend on the smallest eigenvalue of ``A`` in the first interval:

    dtype      steps    smallest eigenvalue    relative error of its root and of all larger ones
    float32    5        2^-19 = 2e-6           8e-14
    float64    9        2^-41 = 5e-13          2e-16

of the polynomials; rounding comes on top. Smaller eigenvalues, below 16 and 2,048 times the machine precision, are
mostly rounding of larger ones. Their roots come out too small, by at most the root of the smallest; zeros stay zeros.

The gradient is that of the exact root. With ``L(G)`` the solution of ``P L + L P = G`` (:mod:`mmgcp.ops.lyapunov`),
``P`` the root of ``S = F F^T`` or ``K = F^T F`` and ``E = P^-1 F`` or ``F P^-1``, it is for symmetric ``G``

    2 L(G) F = 2 (G - P L(G)) E    or, on the Gram side,    2 (G E - F L(E^T G E)).

``L`` comes from the steps above for the sign of ``[[P, G], [0, -P]]``. It is wrong where ``P`` has zeros, but there it
is multiplied by zero, in ``P``, ``F`` and ``E``, and only rounding is left: in float32 the relative error of the
gradient is up to 1e-4, but 1e-3 with dead channels and 1e-2 with equal pixels.
"""
import torch
from torch import Tensor

from .compat import COMPILES_FUNCTIONS, VMAP_NEEDS_ZEROS, is_compiling, without_autocast
from .lyapunov import lyapunov
from .numerics import identity_like, symmetric_part, trace_of, zero_as_one
from .product import product

# a, b, c, d and e of each step, see above.
FLOAT32 = (
    (0.024106922673716925, -0.01476992503614034, 137.33987220477619, -1.1490470172729494, 0.23355690240830332),
    (0.17776706047516935, -0.10862230956481615, 129.55990866576388, -1.151816781035847, 0.23618893025338866),
    (1.0834867254241622, -0.6460188151151582, 80.48584136891881, -1.177527185386455, 0.2608693256270783),
    (1.7120954419472199, -0.7638286901465738, 4.262393183575144, -1.5477414561873781, 0.6578812155386629),
    (1.2655443673503501, -0.33949728609191776, 0.2802272391406913, -2.5574674956435897, 2.0711827779664627),
)
FLOAT64 = (
    (1.1802932481313085e-05, -7.234356440411573e-06, 138.54916540984783, -1.1486368408524759, 0.23316757887044115),
    (8.890519177586783e-05, -5.449247731995181e-05, 138.54530027407995, -1.1486381436393829, 0.23316881523855162),
    (0.0006696331520043491, -0.0004104329543742568, 138.51618746035146, -1.1486479581165652, 0.23317812939144603),
    (0.005041271742287442, -0.0030896841576296867, 138.29697784272736, -1.1487219532233295, 0.23324835453539478),
    (0.03781478810373476, -0.023163190446018223, 136.6506335206822, -1.1492831343154428, 0.23378106897547724),
    (0.2751406327742056, -0.16781064300821322, 124.56598198097858, -1.1537257631476405, 0.23800608359650446),
    (1.4435313798682974, -0.8438363883702092, 58.06818228940817, -1.1988961090028347, 0.28170966152321986),
    (1.5316498418202107, -0.5778758764291957, 1.5206420056086973, -1.8228734790451053, 0.9972229801760383),
    (1.2623453680437253, -0.33693181583489984, 0.2739180083245317, -2.570425569672384, 2.092244306895169),
)


def polar_express_pool(factor: Tensor, side: str, center: bool = True, shift: float = 0.) -> Tensor:
    """Square root of the shifted covariance, ``(F F^T + c I)^(1/2)``.

    Args:
        factor (Tensor): ``F`` (B, C, N), float32 or float64.
        side (str): ``'gram'`` runs the steps on N x N matrices, ``'covariance'`` on C x C ones.
        center (bool): Whether the rows of ``F`` have zero mean.
        shift (float): ``c``, at least 0; 0 on the Gram side.

    Returns:
        Tensor: (B, C, C), symmetric to rounding. Without a shift, zero with zero gradient for a zero factor.
    """
    if torch.jit.is_tracing() or is_compiling() and not COMPILES_FUNCTIONS:
        return _Pool.forward(factor, side, center, shift)[0]
    return _Pool.apply(factor, side, center, shift)[0]


def _matrix(factor: Tensor, side: str, center: bool, shift: float) -> Tensor:
    """``F F^T + c I``, or ``F^T F``, with a known zero eigenvalue lifted if ``F`` is centred.

    Centring makes the vector of ones a null vector. Lifted to t / N, the mean eigenvalue, it costs less accuracy.
    """
    transposed = factor.transpose(1, 2)
    if side == 'covariance':
        matrix = product(factor, transposed)
        return matrix + shift * identity_like(matrix) if shift else matrix
    matrix = product(transposed, factor)
    return matrix + trace_of(matrix.detach()) / matrix.shape[-1]**2 if center else matrix


class _Pool(torch.autograd.Function):
    """Returns the pooled features, ``P`` unless the two are the same, and ``P^-1``."""

    generate_vmap_rule = True

    @staticmethod
    def forward(factor: Tensor, side: str, center: bool, shift: float) -> tuple[Tensor, ...]:
        y, z = _roots(_matrix(factor, side, center, shift))
        return (y, z) if side == 'covariance' else ((factor @ z) @ factor.transpose(1, 2), y, z)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        factor, *ctx.settings = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(VMAP_NEEDS_ZEROS)  # none for outputs that are not differentiable
        ctx.save_for_backward(factor, *output[-2:])

    @staticmethod
    def backward(ctx, grad: Tensor | None, *_) -> tuple[Tensor | None, None, None, None]:
        if grad is None:
            return None, None, None, None
        factor, y, z = ctx.saved_tensors
        with without_autocast(grad):
            if torch.is_grad_enabled():
                y, z = _Roots.apply(_matrix(factor, *ctx.settings))
            grad = symmetric_part(grad)
            if ctx.settings[0] == 'covariance':
                inner = product(y, lyapunov(y, grad, _corner_of_sign))
                half = product(grad - inner, product(z, factor))
            else:
                white = product(factor, z)
                inner = lyapunov(y, product(product(white.mT, grad), white), _corner_of_sign)
                half = product(grad, white) - product(factor, inner)
            return 2 * half, None, None, None


class _Roots(torch.autograd.Function):
    """``P`` and ``P^-1``, to be differentiated again."""

    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor) -> tuple[Tensor, Tensor]:
        return _roots(matrix)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(*output)

    @staticmethod
    def backward(ctx, grad: Tensor, grad_inverse: Tensor) -> Tensor:
        y, z = ctx.saved_tensors
        with without_autocast(grad):
            return lyapunov(y, grad - product(product(z, grad_inverse), z), _corner_of_sign)


def _roots(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """``P`` and ``P^-1`` of symmetric positive semidefinite matrices (B, M, M)."""
    trace = zero_as_one(trace_of(matrix))
    identity, y, z = identity_like(matrix), matrix / trace, None
    for quartic in _quartics(matrix):
        _, q = _quartic(y if z is None else z @ y, identity, quartic)
        y, z = y @ q, q if z is None else q @ z
    return y * trace.sqrt(), z / trace.sqrt()


def _quartics(matrix: Tensor) -> tuple[tuple[float, ...], ...]:
    return FLOAT64 if matrix.dtype == torch.float64 else FLOAT32


def _quartic(r: Tensor, identity: Tensor, quartic: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """``W`` and ``Q``."""
    a, b, c, d, e = quartic
    w = torch.baddbmm(torch.add(e * identity, r, alpha=d), r, r)
    return w, torch.baddbmm(torch.add(a * identity, r, alpha=b), w, w, alpha=c)


def _corner_of_sign(block: Tensor, corner: Tensor) -> Tensor:
    """By ``H <- H Q(H^2)``; the corners of even powers of ``H`` are antisymmetric."""
    identity = identity_like(block)
    for quartic in _quartics(block):
        _, b, c, d, _ = quartic
        r = block @ block
        w, q = _quartic(r, identity, quartic)
        square = _commutator(block @ corner)
        even = c * _commutator(w @ (_commutator(r @ square) + d * square)) + b * square
        corner = symmetric_part(block @ even + corner @ q)
        block = block @ q
    return corner


def _commutator(product: Tensor) -> Tensor:
    return product - product.mT
