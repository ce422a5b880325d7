"""Errors that a user can mend."""


class SetupError(ValueError):
    """A mistake in a config, its data or its files, told in one sentence. Tools print the sentence alone."""
