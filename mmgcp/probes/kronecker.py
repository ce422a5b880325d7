r"""Kronecker-factored blocks of the Fisher information matrix, one per layer.

A layer with weights ``W`` (a row per output, the bias as last column) computes ``s_t = W a_t`` at the positions ``t``
of an example: pixels of a convolution, whose ``a_t`` is an unfolded patch, or tokens. With ``g_t`` the gradient of the
example's own loss with respect to ``s_t``, that with respect to ``W`` is ``sum_t g_t a_t^T``, and the block of the
Fisher matrix is approximated by (K-FAC, Martens & Grosse, ICML 2015; for convolutions Grosse & Martens, ICML 2016)

    F  =  A (x) G,    A = E[sum_t a_t a_t^T],    G = E[mean_t g_t g_t^T],

in the basis of ``W`` with its columns stacked. It is exact for one position with independent inputs and gradients, and
so for a single example. Gradients of the loss with true labels give the empirical Fisher matrix.
"""
import torch
import torch.nn.functional as F
from torch import Tensor, nn


def is_supported(module: nn.Module) -> bool:
    """Whether a layer has factors: ``nn.Linear`` or ungrouped, zero-padded ``nn.Conv2d``; subclasses may differ."""
    if type(module) is nn.Conv2d:
        return module.groups == 1 and module.padding_mode == 'zeros'
    return type(module) is nn.Linear


def input_factor(module: nn.Module, x: Tensor) -> Tensor:
    """Compute A, (d, d): the mean over examples of the sum over positions of ``a a^T``, in float32 or float64.

    ``x`` is the input, (B, in, H, W) of a convolution or (B, ..., in) of a linear layer, with positions in between. d
    is in * kernel height * kernel width, in the order of ``weight.flatten(1)``, and one more if there is a bias.
    """
    rows = _examples(module, x)
    if isinstance(module, nn.Conv2d):
        rows = F.pad(rows, module._reversed_padding_repeated_twice)  # padding='same' need not be symmetric
        rows = F.unfold(rows, module.kernel_size, module.dilation, stride=module.stride).transpose(1, 2)
    rows = rows.reshape(-1, rows.shape[-1])
    if module.bias is not None:
        rows = F.pad(rows, (0, 1), value=1.)
    return rows.T @ rows / len(x)


def output_factor(module: nn.Module, grad: Tensor, loss_scale: float = 1.) -> Tensor:
    """Compute G, (out, out): the mean over examples and positions of ``g g^T``, in float32 or float64.

    ``grad`` is the gradient with respect to the output, (B, out, H, W) or (B, ..., out), of the mean loss over the B
    examples, times ``loss_scale``: B times the mean's gradient is that of an example's own loss.
    """
    rows = _examples(module, grad) * (len(grad) / loss_scale)
    if isinstance(module, nn.Conv2d):
        rows = rows.movedim(1, -1)
    rows = rows.reshape(-1, rows.shape[-1])
    return rows.T @ rows / len(rows)


def positions(module: nn.Module, grad: Tensor) -> int:
    """Count the positions per example: output pixels of a convolution, tokens of a linear layer."""
    return grad[0].numel() // len(module.weight)


def gradient_matrix(module: nn.Module, weight_grad: Tensor, bias_grad: Tensor | None = None) -> Tensor:
    """Combine the gradients of a layer in a matrix, (out, d): ``weight.flatten(1)``, and the bias as last column."""
    columns = [weight_grad.flatten(1)] if module.bias is None else [weight_grad.flatten(1), bias_grad[:, None]]
    return torch.cat(columns, 1)


def split_matrix(module: nn.Module, matrix: Tensor) -> list[Tensor]:
    """Invert :func:`gradient_matrix`: split a matrix into the parts of the weight and, if present, the bias."""
    if module.bias is None:
        return [matrix.view_as(module.weight)]
    return [matrix[:, :-1].reshape(module.weight.shape), matrix[:, -1]]


def inverses(input_factor: Tensor, output_factor: Tensor, damping: float) -> list[Tensor]:
    r"""Invert both factors with factored Tikhonov damping (Martens & Grosse 2015, Section 6.3).

    ``(A + pi sqrt(damping) I)^-1`` and ``(G + sqrt(damping) / pi I)^-1``, where ``pi^2`` is the mean eigenvalue of A
    over that of G, so that both are damped equally. Their Kronecker product is about ``(A (x) G + damping I)^-1``. A
    zero factor, as with zero-initialised weights, has no scale: then ``pi`` is 1. Raises a ValueError if a factor is
    not finite, or not positive definite after damping.
    """
    scales = [factor.diagonal().mean() for factor in (input_factor, output_factor)]
    if not all(bool(scale.isfinite()) for scale in scales):
        raise ValueError('the Kronecker factors are not finite, and so the loss or its gradient was not')
    pi = float((scales[0] / scales[1]).sqrt()) if all(scale > 0 for scale in scales) else 1.
    return [_inverse(input_factor, pi * damping**0.5), _inverse(output_factor, damping**0.5 / pi)]


def precondition(matrix: Tensor, inverse_input: Tensor, inverse_output: Tensor) -> Tensor:
    """Multiply a gradient, (out, d), by the inverse block, in factors from :func:`inverses`: ``G^-1 matrix A^-1``."""
    return inverse_output @ matrix @ inverse_input


def _inverse(factor: Tensor, damping: float) -> Tensor:
    damped = factor + damping * torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
    root, failed = torch.linalg.cholesky_ex(damped)
    if failed:
        raise ValueError(f'a Kronecker factor of size {len(factor)} with {damping:.3g} on its diagonal is not positive '
                         f'definite in {factor.dtype}: raise the damping')
    # Cholesky routines may return a column-major matrix, which cannot be broadcast and gives other rounding errors.
    return torch.cholesky_inverse(root).contiguous()


def _examples(module: nn.Module, x: Tensor) -> Tensor:
    """Convert an input or gradient (B, ...) to at least float32; raise a ValueError if there are no examples."""
    if x.dim() < (4 if isinstance(module, nn.Conv2d) else 2) or not x.numel():
        raise ValueError(f'Kronecker factors are means over examples, but {type(module).__name__} got {tuple(x.shape)}')
    return x if x.dtype == torch.float64 else x.float()
