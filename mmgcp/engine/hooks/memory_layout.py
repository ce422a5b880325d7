"""Memory layout of what an optimizer keeps for each weight."""
import torch
from mmengine.optim import OptimWrapper
from torch import Tensor


@torch.no_grad()
def match_layout(optim_wrapper: OptimWrapper) -> None:
    """Give the optimizer's state the strides of the weights; values stay the same.

    A checkpoint restores the strides that it was saved with. Fused optimizers on the CPU go through the memory of
    weight and momentum side by side, whatever the strides, and would mix entries after a change of the memory format.
    """
    for weight, state in optim_wrapper.optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == weight.shape and value.stride() != weight.stride():
                state[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)
