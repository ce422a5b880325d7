"""What differs between the PyTorch versions that are supported."""
import torch

VERSION = tuple(int(part) for part in torch.__version__.split('.')[:2])
# Autocast can be asked by device, and compilers be recognised, since torch 2.4.
TORCH_2_4 = VERSION >= (2, 4)
# torch.compile does not take the autograd functions of this package whole in torch 2.1 and 2.4, and does in 2.7.
COMPILES_FUNCTIONS = VERSION >= (2, 7)

if TORCH_2_4:
    is_compiling = torch.compiler.is_compiling
else:
    from torch._utils import is_compiling


def autocast_type(device: torch.device) -> str:
    """Type of device to ask autocast about; ``meta`` has none of its own."""
    return 'cpu' if device.type == 'meta' else device.type


def is_autocast_enabled(device_type: str) -> bool:
    """Whether autocast is on for a type of device such as ``'cuda'``."""
    if TORCH_2_4:
        return torch.is_autocast_enabled(device_type)
    return torch.is_autocast_cpu_enabled() if device_type == 'cpu' else torch.is_autocast_enabled()


__all__ = ['COMPILES_FUNCTIONS', 'autocast_type', 'is_autocast_enabled', 'is_compiling']
