"""End programs with one sentence on errors that a user can fix."""
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import REASON_FILE, NonFiniteLossError, SetupError, sentence_of
from .machines import stop_with_other_machines, tell_other_machines

_TAKEN = 'server socket has failed to listen'  # PyTorch's words; the type of its error depends on the version


@contextmanager
def reported(*errors: type[Exception]) -> Iterator[None]:
    """End the program with one sentence on errors that a user can fix and on ``errors``; print warnings in one line."""
    warnings.formatwarning = lambda message, *_: f'Warning: {message}\n'
    stop_with_other_machines()
    try:
        yield
    except Exception as error:
        if not (isinstance(error, (SetupError, NonFiniteLossError, *errors)) or _TAKEN in str(error)):
            tell_other_machines(f'{type(error).__name__}, see its output')
            raise
        sentence = _sentence(error).encode(errors='backslashreplace').decode()  # names of files need not be UTF-8
        if 'Original Traceback' in sentence:  # from a worker of a data loader: "TYPE: SENTENCE" is its last line
            sentence = sentence.splitlines()[-1].partition(': ')[2]
        tell_other_machines(sentence)
        if os.environ.get(REASON_FILE):
            Path(os.environ[REASON_FILE]).write_text(sentence)
            sys.exit(1)
        sys.exit(f'\nStopped: {sentence}.')


def _sentence(error: Exception) -> str:
    if _TAKEN in str(error):
        return f'port {os.environ.get("MASTER_PORT")} is taken, perhaps by another job: set another PORT'
    return sentence_of(error)
