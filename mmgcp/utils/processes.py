"""Run functions on one process for all."""
from collections.abc import Callable
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process

from .errors import SetupError


def on_main_process(function: Callable, *arguments: Any) -> Any:
    """Call a function on rank 0 for all ranks, which get the same result, or its ValueError as a SetupError."""
    outcome = [None, None]
    if is_main_process():
        try:
            outcome = [function(*arguments), None]
        except ValueError as error:
            outcome = [None, str(error).rstrip('.')]
    broadcast_object_list(outcome)
    if outcome[1]:
        raise SetupError(outcome[1])
    return outcome[0]
