"""Matrix products that autocast does not affect, in forward and backward passes."""
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .compat import is_compiling, without_autocast


def product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` of matrices (B, ., .), whose derivatives keep the dtype even where they are taken inside autocast."""
    if is_compiling() or torch.jit.is_tracing():
        return a @ b
    return _Product.apply(a, b)


def recorded_products() -> AbstractContextManager:
    """Context of a backward pass: ``@`` and ``baddbmm`` become :func:`product` if its own derivatives are recorded."""
    return _Products() if torch.is_grad_enabled() and not is_compiling() else nullcontext()


class _Products(TorchFunctionMode):

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.Tensor.matmul, torch.Tensor.__matmul__):
            return product(*args)
        if func is torch.baddbmm:
            added, *factors = args
            return kwargs.get('beta', 1) * added + kwargs.get('alpha', 1) * product(*factors)
        return func(*args, **kwargs)


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
        if da is None or db is None:
            return a @ db if da is None else da @ b
        return da @ b + a @ db
