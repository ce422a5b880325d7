"""Differences between the supported versions of PyTorch."""
import torch

VERSION = tuple(int(part) for part in torch.__version__.split('.')[:2])
# Since torch 2.4, autocast can be queried by device, and torch.compiler.is_compiling exists.
TORCH_2_4 = VERSION >= (2, 4)
# Before torch 2.2, vmap refuses gradients that are None in place of zeros.
VMAP_NEEDS_ZEROS = VERSION < (2, 2)
# torch.compile breaks the graph at the autograd functions of this package in torch 2.1 and 2.4, not in 2.7.
COMPILES_FUNCTIONS = VERSION >= (2, 7)

is_compiling = torch.compiler.is_compiling if TORCH_2_4 else torch._utils.is_compiling


def is_exporting() -> bool:
    """Whether torch.export records a graph without Dynamo, in which ``torch.compiler.is_exporting`` is always True."""
    # torch 2.7 has both.
    return COMPILES_FUNCTIONS and torch.compiler.is_exporting() and not torch.compiler.is_dynamo_compiling()


def autocast_type(device: torch.device) -> str:
    """Device type to query autocast for: ``meta`` has none."""
    return 'cpu' if device.type == 'meta' else device.type


def is_autocast_enabled(device_type: str) -> bool:
    """Whether autocast is on for a device type such as ``'cuda'``."""
    if TORCH_2_4:
        return torch.is_autocast_enabled(device_type)
    return torch.is_autocast_cpu_enabled() if device_type == 'cpu' else torch.is_autocast_enabled()


def forward_mode(function: type) -> type:
    """Variant of an autograd function with forward-mode derivatives, except under torch.compile, which rejects it."""
    return function if is_compiling() else function.ForwardMode


def without_autocast(tensor: torch.Tensor) -> torch.autocast:
    """Context without autocast; backward passes need their own, as ``backward()`` may be called inside autocast."""
    return torch.autocast(autocast_type(tensor.device), enabled=False)
