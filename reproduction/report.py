"""Makes tables, figures and the filled places of pages from the files of results, and trains nothing.

CSV tables go to results/PLAN/, figures to docs/figures/; pages are filled where they say <!-- results: FILE -->.

Examples:
    python -m reproduction.report reproduction/plans/imagenette_cpu.py
    python -m reproduction.report                                         # pages alone
"""
import argparse
from pathlib import Path

from mmgcp.experiments import read_plan
from mmgcp.utils.errors import SetupError
from mmgcp.utils.reported import reported

from .figures import accuracy_by_rate, make_figures, plot_rates
from .measured import Measured
from .pages import filled_pages
from .paper_plan import PaperPlan
from .result_tables import make_tables, save_tables


def write_tables(plan: PaperPlan, results: Path, root: Path) -> None:
    """Make the tables of a plan in ``results/PLAN`` and its figures; if it is not judged, only that of learning rates.

    Args:
        plan (PaperPlan): The plan.
        results (Path): Folder of results.
        root (Path): The project.

    Raises:
        SetupError: If there are no results, or the trainings do not say what they train.
    """
    if not isinstance(plan, PaperPlan):
        raise SetupError(f"the plan '{plan.name}' is no PaperPlan of reproduction.paper_plan: its trainings do not say "
                         'which network and pooling they train')
    measured = Measured(plan, results)
    if not measured.runs:
        raise SetupError(f'{results / plan.name} holds no results of a training: run the plan first')
    save_tables(make_tables(measured), results / plan.name)
    figures = root / 'docs' / 'figures'
    if plan.judged:
        make_figures(measured, figures, plan.name)
    curves = accuracy_by_rate(measured)
    if curves:
        plot_rates(curves, figures / f'{plan.name}_rates.png')


def fill_pages(results: Path, root: Path) -> list[Path]:
    """Write the present results into the pages that show them.

    Args:
        results (Path): Folder of results.
        root (Path): The project.

    Returns:
        list[Path]: The pages that changed.

    Raises:
        SetupError: If a page shows a file that does not exist.
    """
    changed = {page: text for page, text in filled_pages(results, root).items()
               if page.read_text(encoding='utf-8') != text}
    for page, text in changed.items():
        page.write_text(text, encoding='utf-8')
    return list(changed)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('plans', nargs='*', metavar='PLAN', help='Python files of plans (default: none, pages alone)')
    parser.add_argument('--results', type=Path, default=Path('results'), metavar='FOLDER',
                        help='(default: %(default)s)')
    parser.add_argument('--root', type=Path, default=Path(), metavar='FOLDER',
                        help='where docs/ and other pages are (default: this folder)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with reported(ValueError, OSError):
        for plan in map(read_plan, args.plans):
            write_tables(plan, args.results, args.root)
        print('Pages:', *fill_pages(args.results, args.root) or ['unchanged'])


if __name__ == '__main__':
    main()
