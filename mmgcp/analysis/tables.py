"""Markdown tables, aligned so that they read well in a terminal too."""
import csv
import io
from collections.abc import Sequence
from pathlib import Path

from mmgcp.utils.records import write_whole


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], text: int = 1) -> str:
    """Write a table whose first ``text`` columns are left-aligned and the others, numbers, right-aligned."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = [*('-' * width for width in widths[:text]), *('-' * (width - 1) + ':' for width in widths[text:])]
    lines = [[*map(str.ljust, line[:text], widths), *map(str.rjust, line[text:], widths[text:])]
             for line in [header, rule, *rows]]
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def save_table(header: Sequence[str], rows: Sequence[Sequence[str]], path: str | Path) -> None:
    """Write a table as Markdown or CSV, by the ending of the path, or raise a ValueError; missing folders are made."""
    suffix = Path(path).suffix
    if suffix not in ('.md', '.csv'):
        raise ValueError(f"The table '{path}' must end in .md or .csv.")
    text = io.StringIO()
    if suffix == '.md':
        text.write(markdown_table(header, rows) + '\n')
    else:
        csv.writer(text, lineterminator='\n').writerows([header, *rows])
    write_whole(path, text.getvalue())


def number_cell(value: float | None, digits: int, base: float | None = None, error: float | None = None) -> str:
    """Write a number and, if given, its difference from that of another network with the standard error of this."""
    if value is None:
        return 'N/A'
    spread = '' if error is None else f' ± {error:.{digits}f}'
    return f'{value:.{digits}f}' + ('' if base is None else f' ({arrow(value - base, digits)}{spread})')


def arrow(difference: float, digits: int) -> str:
    """Format a difference like the paper's tables: ``'↑0.91'``, ``'↓5'``, or ``'±0.0'`` if it rounds to zero."""
    size = f'{abs(difference):.{digits}f}'
    if not float(size):
        return f'±{size}'
    return f"{'↑' if difference > 0 else '↓'}{size}"


def decimals(value: float) -> int:
    """Choose the usual number of decimals: 2 for per cent (71.58), 3 for shares (0.366)."""
    return 2 if value > 1 else 3
