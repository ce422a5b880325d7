"""End programs with one sentence on errors that a user can fix."""
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import REASON_FILE, NonFiniteLossError, SetupError
from .machines import stop_with_other_machines, tell_other_machines


@contextmanager
def reported(*errors: type[Exception]) -> Iterator[None]:
    """End the program with one sentence and no traceback on errors that a user can fix; print warnings in one line.

    Args:
        *errors: Error types besides :class:`SetupError` and :class:`NonFiniteLossError`.
    """
    warnings.formatwarning = lambda message, *_: f'Warning: {message}\n'
    stop_with_other_machines()
    try:
        yield
    except (SetupError, NonFiniteLossError, *errors) as error:
        sentence = str(error.args[0]).strip().rstrip('.')
        if 'Original Traceback' in sentence:  # from a worker of a data loader: "TYPE: SENTENCE" is its last line
            sentence = sentence.splitlines()[-1].partition(': ')[2]
        tell_other_machines(sentence)
        if os.environ.get(REASON_FILE):
            Path(os.environ[REASON_FILE]).write_text(sentence)
            sys.exit(1)
        sys.exit(f'\nStopped: {sentence}.')
    except Exception as error:
        tell_other_machines(f'{type(error).__name__}, see its output')
        raise
