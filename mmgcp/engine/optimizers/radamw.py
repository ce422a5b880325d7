"""RAdam with decoupled weight decay for all versions of torch."""
from collections.abc import Callable

import torch

from mmgcp.registry import OPTIMIZERS


@OPTIMIZERS.register_module()
class RAdamW(torch.optim.RAdam):
    """RAdam that multiplies weights by ``1 - lr * weight_decay`` before each step, as AdamW does.

    Vectors (biases, weights of normalisation layers) do not decay, so that all parameters can share one group.
    Otherwise it is ``torch.optim.RAdam`` with ``decoupled_weight_decay=True``, which torch has from 2.2 on (Liu et al.,
    ICLR 2020; Loshchilov and Hutter, ICLR 2019).

    Args:
        params: Parameters, or groups of them.
        **kwargs: Arguments of ``torch.optim.RAdam`` except ``decoupled_weight_decay``.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update the parameters; ``closure`` computes loss and gradients first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        decays = [group['weight_decay'] for group in self.param_groups]
        for group, decay in zip(self.param_groups, decays, strict=True):
            for param in group['params']:
                if decay and param.grad is not None and param.dim() > 1:
                    param.mul_(1 - group['lr'] * decay)
            group['weight_decay'] = 0  # torch's step would add it to the gradient
        try:
            super().step()
        finally:
            for group, decay in zip(self.param_groups, decays, strict=True):
                group['weight_decay'] = decay
        return loss
