"""Files of measurements: one JSON object per line, the settings first, so that a run cut off loses at most one line."""
import json
import warnings
from pathlib import Path
from typing import NamedTuple


class Records(NamedTuple):
    """What a file of measurements holds.

    Attributes:
        settings (dict): What was measured and how, its first line.
        records (list[dict]): The measurements in the order in which they were taken. Values may be NaN or infinite.
    """
    settings: dict
    records: list[dict]


def read_lines(path: Path) -> list[dict]:
    """JSON objects of a log, one a line; a last line cut off by the end of the process is left out, with a warning.

    Raises:
        ValueError: If a line other than the last is no JSON.
    """
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
    """Read a file of measurements.

    Raises:
        ValueError: If it is missing, is not JSON line by line, or has no line of settings.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"'{path}' does not exist: measure first.")
    lines = read_lines(path)
    if not lines or 'settings' not in lines[0]:
        raise ValueError(f"'{path}' is no file of measurements: its first line must hold their settings.")
    return Records(lines[0]['settings'], lines[1:])


def open_records(path: str | Path, settings: dict) -> list[dict]:
    """Start a file of measurements, or go on with one that was made with the same settings.

    A last line that was cut off is removed from the file.

    Args:
        path (str | Path): The file; missing folders are made.
        settings (dict): What is measured and how; JSON values.

    Returns:
        list[dict]: The measurements that the file already holds.

    Raises:
        ValueError: If the file holds measurements with other settings, or cannot be read.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    known = read_records(path) if path.is_file() and path.stat().st_size else Records(settings, [])
    if known.records and known.settings != json.loads(json.dumps(settings)):
        changed = [key for key in {*settings, *known.settings} if settings.get(key) != known.settings.get(key)]
        raise ValueError(f"'{path}' holds measurements with other settings ({', '.join(sorted(changed))}): move it "
                         'away, or measure with the same ones.')
    renewed = path.with_name(path.name + '.part')
    renewed.write_text(''.join(_line(entry) for entry in ({'settings': settings}, *known.records)))
    renewed.replace(path)
    return known.records


def append_record(path: str | Path, record: dict) -> None:
    """Add a measurement to the end of a file."""
    with Path(path).open('a') as file:
        file.write(_line(record))


def _line(entry: dict) -> str:
    return json.dumps(entry) + '\n'
