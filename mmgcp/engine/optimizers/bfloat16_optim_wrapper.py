"""Mixed precision in bfloat16 on any device."""
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mmgcp.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Optimizer wrapper that runs the forward pass under autocast to bfloat16, on CPU or GPU.

    bfloat16 has the exponent range of float32, so that losses need no scaling; ``AmpOptimWrapper``, which scales them
    and requires a GPU, is for float16. Weights, updates and covariance pooling stay in float32. Fast if the processor
    supports bfloat16 (GPUs from Ampere on, CPUs with AVX512-BF16 or AMX), slow if it is emulated.

    Args:
        **kwargs: Arguments of MMEngine's ``OptimWrapper``.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass of a training step under autocast."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16):
            yield
