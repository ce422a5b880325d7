"""What to do with images and sequences that cannot be read.

Evaluation either stops, or puts something readable in their place that the metrics leave out and count.
"""
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import cv2

from mmgcp.utils.errors import SetupError

POLICIES = ('stop', 'skip')
# What the decoders that mmcv can use raise on files that are broken, cut off or not images.
_DECODING_ERRORS = (OSError, AssertionError, ValueError, SyntaxError, EOFError, cv2.error)

Item = TypeVar('Item')


class UnreadableError(ValueError):
    """A file cannot be read or decoded; the message is the beginning of a sentence that names it."""


def check_policy(policy: str) -> None:
    """Refuse what is not one of ``POLICIES``.

    Raises:
        SetupError: If it is another value.
    """
    if policy not in POLICIES:
        raise SetupError(f'unreadable must be one of {POLICIES}, but is {policy!r}')


def read_image(load: Callable[[dict], dict | None], info: dict) -> dict:
    """Load an image.

    Args:
        load (Callable): A transform as ``mmcv.LoadImageFromFile``.
        info (dict): What a data set knows about the image, with ``img_path``.

    Returns:
        dict: ``info`` with what the transform adds: ``img``, uint8 (H, W, 3) in BGR order, and its shapes.

    Raises:
        UnreadableError: If the file cannot be read or decoded.
    """
    try:
        results = load(dict(info))
    except _DECODING_ERRORS as error:
        raise UnreadableError(f'the image {info["img_path"]} cannot be read') from error
    # Some settings of the transform make it give back nothing in place of an error.
    if results is None or results.get('img') is None:
        raise UnreadableError(f'the image {info["img_path"]} cannot be read')
    return results


def read_or_stand_in(read: Callable[[int], Item], index: int, count: int, policy: str) -> tuple[Item, dict]:
    """Read an item, or where it cannot be read and the policy is 'skip', the next one that can.

    Args:
        read (Callable[[int], Item]): Reads an item by its index, or raises :class:`UnreadableError`.
        index (int): Which item.
        count (int): Number of items.
        policy (str): ``'stop'`` or ``'skip'``.

    Returns:
        tuple[Item, dict]: The item, and the tags that say of it what metrics must know: ``unreadable=True`` for a
        stand-in, else nothing.

    Raises:
        SetupError: If the item cannot be read and the policy is 'stop', or if no item can.
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
