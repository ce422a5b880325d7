"""Errors that a user can mend."""

# dist_train.sh shows what is in this file once all processes have ended, below what torchrun prints of them.
REASON_FILE = 'MMGCP_REASON_FILE'


class SetupError(ValueError):
    """A mistake in a config, its data or its files, told in one sentence. Tools print the sentence alone."""


class NonFiniteLossError(FloatingPointError):
    """A loss became NaN or infinite."""
