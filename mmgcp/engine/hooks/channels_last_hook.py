"""Hook that puts the channels of a pixel side by side in memory."""
import torch
from mmengine.hooks import Hook
from torch import Tensor, nn

from mmgcp.registry import HOOKS
from mmgcp.utils.mmcv_operators import are_compiled


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Puts the model's weights into ``torch.channels_last`` memory format before training, validation and testing.

    A convolution with such weights converts its input and returns its output in that format, on the CPU (oneDNN) and on
    CUDA (cuDNN), and what follows keeps it. So the images need no conversion of their own. Values change by rounding
    alone; names, shapes and checkpoints do not change at all.

    Compiled operators of mmcv take the memory of their input for contiguous, whatever its strides, and RoIAlign would
    read wrong pixels without a word: their inputs are made contiguous. torchvision's operators need no such guard.
    """

    priority = 'VERY_HIGH'

    def before_run(self, runner) -> None:
        operators = [m for m in runner.model.modules() if type(m).__module__.startswith('mmcv.ops.')]
        for module in operators if operators and are_compiled() else ():
            module.register_forward_pre_hook(_contiguous)

    def before_train(self, runner) -> None:
        # Not in before_run, which comes before the weights are drawn: they would be drawn in another order.
        runner.model.to(memory_format=torch.channels_last)

    before_val = before_test = before_train


def _contiguous(module: nn.Module, args: tuple) -> tuple:
    return tuple(arg.contiguous() if isinstance(arg, Tensor) else arg for arg in args)
