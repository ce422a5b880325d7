"""Run functions on one process for all."""
from collections.abc import Callable
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process

from .errors import SetupError


def on_main_process(function: Callable, *arguments: Any) -> Any:
    """Call a function on rank 0 and return its result on all ranks, for files that all must see alike.

    Raises:
        SetupError: On all ranks, if the function raises a ValueError.
    """
    outcome = [None, None]
    if is_main_process():
        try:
            outcome = [function(*arguments), None]
        except ValueError as error:
            outcome = [None, str(error).rstrip('.')]
    broadcast_object_list(outcome)
    result, sentence = outcome
    if sentence:
        raise SetupError(sentence)
    return result
