"""Matrix products that autocast leaves alone, in forward and backward passes."""
import torch
from torch import Tensor

from .compat import is_compiling, without_autocast


def product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` of matrices (B, ., .), whose derivatives keep the dtype even where they are taken inside autocast."""
    if is_compiling() or torch.jit.is_tracing():
        return a @ b
    return _Product.apply(a, b)


class _Product(torch.autograd.Function):

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return a @ b

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor]:
        a, b = ctx.saved_tensors
        with without_autocast(grad):
            if not torch.is_grad_enabled():
                return grad @ b.mT, a.mT @ grad
            return _Product.apply(grad, b.mT), _Product.apply(a.mT, grad)

    @staticmethod
    def jvp(ctx, da: Tensor | None, db: Tensor | None) -> Tensor:
        a, b = ctx.saved_tensors
        parts = ([] if da is None else [da @ b]) + ([] if db is None else [a @ db])
        return sum(parts[1:], parts[0])
