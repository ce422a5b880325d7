"""Policies for unreadable images and sequences: stop, or read a stand-in that metrics count and exclude."""
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import cv2

from mmgcp.utils.errors import SetupError

POLICIES = ('stop', 'skip')
# Errors of mmcv's decoders on files that are broken, truncated or not images.
_DECODING_ERRORS = (OSError, AssertionError, ValueError, SyntaxError, EOFError, cv2.error)

Item = TypeVar('Item')


class UnreadableError(ValueError):
    """A file cannot be read or decoded; the message begins a sentence that names it."""


def check_policy(policy: str) -> None:
    """Raise SetupError unless a policy is one of ``POLICIES``."""
    if policy not in POLICIES:
        raise SetupError(f'unreadable must be one of {POLICIES}, but is {policy!r}')


def read_image(load: Callable[[dict], dict | None], info: dict) -> dict:
    """Load the image at ``info['img_path']`` by a transform such as mmcv's, or raise :class:`UnreadableError`."""
    try:
        results = load(dict(info))
    except _DECODING_ERRORS as error:
        raise UnreadableError(f'the image {info["img_path"]} cannot be read') from error
    if results is None or results.get('img') is None:  # some settings return it instead of raising
        raise UnreadableError(f'the image {info["img_path"]} cannot be read')
    return results


def read_or_stand_in(read: Callable[[int], Item], index: int, count: int, policy: str) -> tuple[Item, dict]:
    """Read one of ``count`` items by index, or the next readable one if it is unreadable and the policy is 'skip'.

    ``read`` raises :class:`UnreadableError`. Tags for metrics are returned too: ``unreadable=True`` for a stand-in.
    """
    try:
        return read(index), {}
    except UnreadableError as error:
        if policy == 'stop':
            raise SetupError(f"{error}: put a whole file there, or set unreadable='skip' to leave such files out "
                             'and count them') from error
        for step in range(1, count):
            with suppress(UnreadableError):
                return read((index + step) % count), dict(unreadable=True)
        raise SetupError(f'{error}, nor can any other of the {count}: nothing is left to measure') from error
