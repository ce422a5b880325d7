"""Files of measurements: one JSON object per line, settings first; an interrupted run loses at most one line."""
import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Records(NamedTuple):
    """Contents of a file: settings, and measurements in chronological order, whose values may be NaN or infinite."""
    settings: dict
    records: list[dict]


def read_lines(path: Path) -> list[dict]:
    """Read a log with one JSON object per line; an incomplete last line, not another, is left out with a warning."""
    lines = path.read_text(encoding='utf-8', errors='replace').rstrip().splitlines()
    records = []
    for number, line in enumerate(lines, 1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            if number < len(lines):
                raise ValueError(f"Line {number} of '{path}' is not JSON: repair or delete that line.") from None
            warnings.warn(f"The last line of '{path}' is cut off and was left out.", stacklevel=2)
    return records


def read_records(path: str | Path) -> Records:
    """Read a file of measurements; a ValueError says if it is missing or not one."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"'{path}' does not exist: measure first.")
    lines = read_lines(path)
    if not lines or 'settings' not in lines[0]:
        raise ValueError(f"'{path}' is not a file of measurements: its first line must hold their settings.")
    return Records(lines[0]['settings'], lines[1:])


def matching_records(path: str | Path, settings: dict) -> list[dict]:
    """Read the measurements of a file, none if it is missing; a ValueError says which settings differ, if any."""
    path = Path(path)
    known = read_records(path) if path.is_file() and path.stat().st_size else Records(settings, [])
    if known.records and known.settings != json.loads(json.dumps(settings)):
        changed = [key for key in {*settings, *known.settings} if settings.get(key) != known.settings.get(key)]
        raise ValueError(f"'{path}' holds measurements with other settings ({', '.join(sorted(changed))}): move it "
                         'away, or measure with the same ones.')
    return known.records


def open_records(path: str | Path, settings: dict) -> list[dict]:
    """Start a file of measurements, or continue one with the same settings and drop its incomplete last line.

    Missing folders are created. Returned are the measurements already in the file; a ValueError names other settings.
    """
    records = matching_records(path, settings)
    write_records(path, settings, records)
    return records


def write_records(path: str | Path, settings: dict, records: Iterable[dict]) -> None:
    """Write a whole file of measurements, in place of an earlier one; missing folders are created."""
    write_whole(path, ''.join(map(_line, ({'settings': settings}, *records))))


def write_whole(path: str | Path, text: str) -> None:
    """Write a file under another name and rename it: an interruption leaves no half file. Missing folders are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'{path.name}.part')
    part.write_text(text, encoding='utf-8')
    part.replace(path)


def append_record(path: str | Path, record: dict) -> None:
    """Append a measurement to a file."""
    with Path(path).open('a') as file:
        file.write(_line(record))


def _line(entry):
    return json.dumps(entry) + '\n'
