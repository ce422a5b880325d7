"""What the processes of a run must agree on."""
from collections.abc import Callable

from mmengine.dist import broadcast_object_list, is_main_process

from .errors import SetupError


def on_main_process(function: Callable, *arguments):
    """Result of a function that reads files, run by rank 0 alone, on all ranks, which must decide alike.

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
