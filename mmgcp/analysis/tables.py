"""Markdown tables, aligned so that they read well in a terminal too."""
import csv
from collections.abc import Sequence
from pathlib import Path


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], text: int = 1) -> str:
    """Write a table whose first columns are text and hang left, the others numbers that hang right.

    Args:
        header (Sequence[str]): Names of the columns.
        rows (Sequence[Sequence[str]]): Cells, as many per row as there are columns.
        text (int): Number of columns with text.

    Returns:
        str: One line per row under two lines of header.
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = [*('-' * width for width in widths[:text]), *('-' * (width - 1) + ':' for width in widths[text:])]
    lines = [[*map(str.ljust, line[:text], widths), *map(str.rjust, line[text:], widths[text:])]
             for line in [header, rule, *rows]]
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def save_table(header: Sequence[str], rows: Sequence[Sequence[str]], path: str | Path) -> None:
    """Write a table as Markdown or CSV.

    Args:
        header (Sequence[str]): Names of the columns.
        rows (Sequence[Sequence[str]]): Cells.
        path (str | Path): File to write, ``.md`` or ``.csv``; missing folders are made.

    Raises:
        ValueError: If ``path`` has another ending.
    """
    path = Path(path)
    if path.suffix not in ('.md', '.csv'):
        raise ValueError(f"The table '{path}' must end in .md or .csv.")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == '.md':
        path.write_text(markdown_table(header, rows) + '\n', encoding='utf-8')
        return
    with path.open('w', newline='', encoding='utf-8') as file:
        csv.writer(file, lineterminator='\n').writerows([header, *rows])


def arrow(difference: float, digits: int) -> str:
    """A difference as the paper's tables write it: ``'↑0.91'``, ``'↓5'``, or ``'±0.0'`` where the digits show none."""
    size = f'{abs(difference):.{digits}f}'
    if not float(size):
        return f'±{size}'
    return f"{'↑' if difference > 0 else '↓'}{size}"


def decimals(value: float) -> int:
    """Decimals as they are usual: 2 for per cent (71.58), 3 for shares (0.366)."""
    return 2 if value > 1 else 3
