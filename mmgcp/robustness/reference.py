"""Reference networks, and helpers of both benchmarks."""
import json
from collections.abc import Iterable, Sequence
from numbers import Real
from pathlib import Path

import numpy as np

from mmgcp.utils.errors import SetupError


def read_reference(path: str | Path, keys: Sequence[str]) -> dict:
    """Read a network's results with some keys from a plain JSON file or a file of ``tools/test_robustness.py``.

    Raises:
        SetupError: If the file cannot be read, is not a JSON object, or lacks a key.
    """
    try:
        reference = json.loads(Path(path).read_text(encoding='utf-8'))
    except OSError as error:
        raise SetupError(f"the reference '{path}' cannot be read ({error.strerror}): give a JSON file") from None
    except ValueError as error:
        raise SetupError(f"the reference '{path}' is not JSON: {error}") from None
    if isinstance(reference, dict) and len(reference.get('networks', ())) == 1:
        reference, = reference['networks']
    missing = [key for key in keys if not isinstance(reference, dict) or key not in reference]
    if missing:
        raise SetupError(f"the reference '{path}' must be a JSON object with {', '.join(keys)}, but lacks "
                         f"{', '.join(missing)}")
    return reference


def mean_or_none(values: Iterable[float]) -> float | None:
    """Compute the mean of numbers or arrays, or return None if there are none."""
    values = list(values)
    return sum(values) / len(values) if values else None


def is_share(value: object, largest: float = 1) -> bool:
    """Check whether a value is a number in [0, ``largest``], or an array of such; NaN is not."""
    return isinstance(value, Real | np.ndarray) and bool(np.all((value >= 0) & (value <= largest)))
