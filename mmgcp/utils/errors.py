"""Errors that a user can fix."""

# dist_train.sh prints the contents of this file below torchrun's output, after all processes have ended.
REASON_FILE = 'MMGCP_REASON_FILE'


class SetupError(ValueError):
    """A mistake in a config, its data or its files, described in one sentence, which tools print without traceback."""


class NonFiniteLossError(FloatingPointError):
    """A loss became NaN or infinite."""
