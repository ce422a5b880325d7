"""Hook that trains in channels-last memory format."""
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from mmgcp.registry import HOOKS
from mmgcp.utils.mmcv_operators import are_compiled

from .memory_layout import match_layout


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Convert the weights to ``torch.channels_last`` memory format before training, validation and testing.

    A convolution with such weights converts its input and returns its output in that format, and later layers keep it,
    so that images need no conversion. Values differ only by rounding; names, shapes and checkpoints stay the same.

    mmcv's compiled operators ignore strides, so that RoIAlign would silently read wrong pixels: their inputs are made
    contiguous, and the weights of deformable convolutions stay so. torchvision's operators do not need this.
    """

    priority = 'VERY_HIGH'

    def before_run(self, runner: Runner) -> None:
        """Make the inputs of mmcv's compiled operators contiguous."""
        for module in _compiled_operators(runner.model):
            module.register_forward_pre_hook(_contiguous)

    def before_train(self, runner: Runner) -> None:
        """Convert the weights, and what the optimizer has for each."""
        self.before_val(runner)
        match_layout(runner.optim_wrapper)

    def before_val(self, runner: Runner) -> None:
        """Convert the weights."""
        # Not in before_run: weights are initialised after it, and would get the random numbers in another order.
        runner.model.to(memory_format=torch.channels_last)
        for module in _compiled_operators(runner.model):
            module.to(memory_format=torch.contiguous_format)

    before_test = before_val


def _compiled_operators(model: nn.Module) -> list[nn.Module]:
    operators = [module for module in model.modules() if type(module).__module__.startswith('mmcv.ops.')]
    return operators if operators and are_compiled() else []


def _contiguous(module: nn.Module, args: tuple) -> tuple:
    return tuple(arg.contiguous() if isinstance(arg, Tensor) else arg for arg in args)
