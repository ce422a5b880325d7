"""Reference networks, and helpers of both benchmarks."""
import json
import math
from collections.abc import Iterable, Sequence
from numbers import Real
from pathlib import Path

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
    """Compute the mean, or return None if there are no values."""
    values = list(values)
    return math.fsum(values) / len(values) if values else None


def is_share(value: object) -> bool:
    """Check whether a value is a number in [0, 1]; NaN is not."""
    return isinstance(value, Real) and 0 <= value <= 1
