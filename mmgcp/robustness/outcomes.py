"""Outcome of every photo, kept so that networks can be compared photo by photo.

Outcomes are sorted by file name (then by class folder), whatever the layout of the data set, the batches or the number
of processes. ``photos`` is a checksum of the names of the files without folders: where it differs, so do the photos.
"""
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np


def pack_errors(names: Sequence[str], wrong: Sequence[bool | None]) -> dict:
    """Pack which photos of a set, by name of the file, are misclassified; None if a photo could not be read.

    The JSON values are ``photos`` and, as bits in hex (:func:`numpy.packbits`), ``wrong`` and, if any, ``unreadable``.
    """
    order, photos = _sorted(names)
    unreadable = [wrong[i] is None for i in order]
    packed = dict(photos=photos, wrong=_pack([bool(wrong[i]) for i in order]))
    return packed | (dict(unreadable=_pack(unreadable)) if any(unreadable) else {})


def pack_flips(names: Sequence[str], flip: Sequence[float | None], top5: Sequence[float | None], pairs: int) -> dict:
    """Pack flip probability and mean top-5 distance of the sequences of a set; None if a sequence could not be read.

    The JSON values are ``photos``, ``pairs`` (frames compared per sequence) and integer sums ``flip``, ``top5``.
    """
    order, photos = _sorted(names)
    sums = {key: [None if values[i] is None else round(values[i] * pairs) for i in order]
            for key, values in (('flip', flip), ('top5', top5))}
    return dict(photos=photos, pairs=pairs, **sums)


def unpack(outcomes: Mapping, items: int) -> dict[str, np.ndarray]:
    """Unpack what :func:`pack_errors` or :func:`pack_flips` packed of n photos.

    Values are (n,) float64: ``error``, 0 or 1, or ``flip`` and ``top5``, means over the pairs. A photo that could not
    be read has the mean of the others, which keeps their mean.
    """
    if 'wrong' in outcomes:
        values = dict(error=_unpack(outcomes['wrong'], items))
        if 'unreadable' in outcomes:
            values['error'][_unpack(outcomes['unreadable'], items) > 0] = np.nan
    else:
        values = {key: np.array(outcomes[key], float) / outcomes['pairs'] for key in ('flip', 'top5')}
    return {key: np.where(np.isnan(value), np.nanmean(value), value) for key, value in values.items()}


def _sorted(names: Sequence[str]) -> tuple[list[int], int]:
    """Return the indices that sort the names, and the checksum."""
    keys = [(Path(name).stem, Path(name).parent.name) for name in names]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    # Names of files need not be UTF-8.
    return order, zlib.crc32('\n'.join(keys[i][0] for i in order).encode(errors='surrogateescape'))


def _pack(bits: Sequence[bool]) -> str:
    return np.packbits(bits).tobytes().hex()


def _unpack(text: str, count: int) -> np.ndarray:
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8), count=count).astype(float)
