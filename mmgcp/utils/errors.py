"""Errors that a user can fix."""

# dist_train.sh prints the contents of this file below torchrun's output, after all processes have ended.
REASON_FILE = 'MMGCP_REASON_FILE'


class SetupError(ValueError):
    """A mistake in a config, its data or its files, described in one sentence, which tools print without traceback."""


def check_counts(**numbers: int) -> None:
    """Raise a ValueError unless numbers, by name, are integers of at least 1."""
    for name, number in numbers.items():
        if not isinstance(number, int) or number < 1:
            raise ValueError(f'{name}={number} must be an integer of at least 1')


class NonFiniteLossError(FloatingPointError):
    """A loss became NaN or infinite."""
