"""Pages that show files of results, so that a number in a page and its file cannot come apart."""
import csv
import json
from pathlib import Path

from mmgcp.analysis.tables import markdown_table
from mmgcp.utils.errors import SetupError

from .blocks import fill_blocks


def filled_pages(results: Path, root: Path) -> dict[Path, str]:
    """Text of the pages at the top and in ``docs``, with the present results.

    Args:
        results (Path): Folder of results.
        root (Path): The project.

    Raises:
        SetupError: If a page shows a file that does not exist.
    """
    pages = [*sorted(root.glob('*.md')), *sorted(root.glob('docs/*.md'))]
    return {page: fill_results(page.read_text(encoding='utf-8'), results) for page in pages}


def fill_results(text: str, results: Path) -> str:
    """Write files of results where a page wants them.

    Args:
        text (str): Page with places ``<!-- results: FILE -->`` ... ``<!-- /results -->``. A CSV file becomes a table,
            whose columns all hang left with ``<!-- results: FILE text -->``; a JSON file with ``command`` and
            ``environment`` a sentence on how and where something was measured.
        results (Path): Folder of results.

    Raises:
        SetupError: If there is no such file.
    """

    def content(argument: str) -> str:
        file, _, text = argument.partition(' ')
        path = results / file
        if not path.is_file():
            raise SetupError(f'a page shows {path}, which does not exist')
        return _made_with(json.loads(path.read_text())) if path.suffix == '.json' else _table(path, text == 'text')

    return fill_blocks(text, 'results', content)


def _table(path: Path, text: bool) -> str:
    with path.open(newline='', encoding='utf-8') as file:
        header, *rows = csv.reader(file)
    return markdown_table(header, rows, text=len(header) if text else 1)


def _made_with(settings: dict) -> str:
    made = settings['environment']
    return (f"`{settings['command']}`: {made['hardware']}, {made['threads']} thread{'s'[:made['threads'] != 1]}, torch "
            f"{made['torch']}.")
