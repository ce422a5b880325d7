"""Writes tables, figures and pages from the files of results, and nothing else."""
from collections.abc import Iterator
from pathlib import Path

from mmgcp.utils.errors import SetupError

from .blocks import fill_blocks
from .figures import make_figures
from .measured import Measured
from .page import make_page
from .plan import Plan
from .tables import make_tables, save_tables

COMMAND = 'python tools/run_experiments.py'


def report(plan: Plan, plan_file: str, results: Path, root: Path) -> list[Path]:
    """Make the tables in ``results/PLAN``, ``docs/results.md`` with its figures, and the tables in other pages.

    With ``page=False`` in the plan, ``docs/results.md`` and the figures stay as they are.

    Args:
        plan (Plan): The plan.
        plan_file (str): Its file, as the command line names it.
        results (Path): Folder of results.
        root (Path): The project.

    Returns:
        list[Path]: The pages that changed.

    Raises:
        SetupError: If there are no results, or a page shows a file that does not exist.
    """
    measured = Measured(plan, results)
    if not measured.runs:
        raise SetupError(f'{results / plan.name} holds no results of a training: run the plan first')
    made = make_tables(measured)
    save_tables(made, results / plan.name)
    if plan.page:
        make_figures(measured, root / 'docs' / 'figures')
    changed = []
    for path, text in pages(measured, plan_file, root):
        if not path.is_file() or path.read_text(encoding='utf-8') != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding='utf-8')
            changed.append(path)
    return changed


def pages(measured: Measured, plan_file: str, root: Path) -> Iterator[tuple[Path, str]]:
    """The page of results, and all pages that show files of results, as they should be.

    Args:
        measured (Measured): The results.
        plan_file (str): File of the plan, as the command line names it.
        root (Path): The project.

    Yields:
        tuple[Path, str]: Page and text.

    Raises:
        SetupError: If a page shows a file that does not exist.
    """
    page = root / 'docs' / 'results.md'
    if measured.plan.page:
        yield page, make_page(measured, make_tables(measured), f'{COMMAND} {plan_file}')
    for path in [*sorted(root.glob('*.md')), *sorted(root.glob('docs/*.md'))]:
        if path != page:
            yield path, fill_blocks(path.read_text(encoding='utf-8'), measured.folder)
