"""Errors that a user can fix."""
from collections.abc import Iterator
from contextlib import contextmanager

# dist_train.sh prints the contents of this file below torchrun's output, after all processes have ended.
REASON_FILE = 'MMGCP_REASON_FILE'


class SetupError(ValueError):
    """A mistake in a config, its data or its files, described in one sentence, which tools print without traceback."""


def sentence_of(error: Exception) -> str:
    """Return the message of an error without its number, or its type if there is no message."""
    if isinstance(error, OSError) and error.strerror:
        text = f'{error.filename}: {error.strerror}' if error.filename else error.strerror
    else:  # str() would put the message of a KeyError into quotes
        text = str(error.args[0] if len(error.args) == 1 else error)
        if isinstance(error, KeyError) and text and ' ' not in text:
            text = f"the key '{text}' is missing"
    return text.strip().rstrip('.') or type(error).__name__


@contextmanager
def explained(*errors: type[Exception]) -> Iterator[None]:
    """Turn errors by which libraries refuse a setting into a SetupError of one sentence."""
    try:
        yield
    except SetupError:
        raise
    except errors as error:
        raise SetupError(sentence_of(error)) from error


def check_counts(**numbers: int) -> None:
    """Raise a ValueError unless numbers, by name, are integers of at least 1."""
    for name, number in numbers.items():
        if not isinstance(number, int) or number < 1:
            raise ValueError(f'{name}={number} must be an integer of at least 1')


class NonFiniteLossError(FloatingPointError):
    """A loss became NaN or infinite."""
