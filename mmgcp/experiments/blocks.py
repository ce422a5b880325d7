"""Tables in pages that stand for files of results, so that a number in a page and its file cannot come apart."""
import csv
import json
import re
from pathlib import Path

from mmgcp.analysis.tables import markdown_table
from mmgcp.utils.errors import SetupError

# A page names a file of results, relative to their folder, and what is in it is written below.
PLACE = re.compile(r'(<!-- results: (?P<file>\S+) -->\n).*?(<!-- /results -->)', re.DOTALL)


def fill_blocks(text: str, results: Path) -> str:
    """Write files of results where a page wants them.

    Args:
        text (str): Page with places ``<!-- results: FILE -->`` ... ``<!-- /results -->``. A CSV file becomes a table, a
            JSON file with ``command`` and ``environment`` a sentence on how and where something was measured.
        results (Path): Folder of results.

    Returns:
        str: The page, what stood in those places replaced.

    Raises:
        SetupError: If there is no such file.
    """

    def fill(place):
        path = results / place['file']
        if not path.is_file():
            raise SetupError(f'a page shows {path}, which does not exist')
        content = made_with(json.loads(path.read_text())) if path.suffix == '.json' else table(path)
        return f'{place[1]}{content}\n{place[3]}'

    return PLACE.sub(fill, text)


def table(path: Path) -> str:
    """A CSV file as a Markdown table."""
    with path.open(newline='', encoding='utf-8') as file:
        header, *rows = csv.reader(file)
    return markdown_table(header, rows)


def made_with(settings: dict) -> str:
    """How and where something was measured, in a sentence.

    Args:
        settings (dict): ``command`` and :func:`~mmgcp.experiments.environment.environment`.
    """
    made = settings['environment']
    return (f"`{settings['command']}`: {made['hardware']}, {made['threads']} thread{'s'[:made['threads'] != 1]}, torch "
            f"{made['torch']}.")
