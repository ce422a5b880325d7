"""Tables, figure and files of a robustness benchmark."""
from collections.abc import Sequence
from pathlib import Path

from mmgcp.analysis.robustness import RobustnessResult, reference_of, summaries
from mmgcp.analysis.robustness_figure import plot_robustness
from mmgcp.analysis.robustness_tables import corruption_table, robustness_table, write_csv, write_json

from . import corruption_error, perturbation_stability


def find_reference(results: Sequence[RobustnessResult], reference: str) -> dict | None:
    """Errors that those of the networks are divided by.

    Args:
        results (Sequence[RobustnessResult]): The networks.
        reference (str): ``'none'``, ``'alexnet'``, the name of one of the networks, or a JSON file.

    Raises:
        SetupError: If the file cannot be read or has another form.
        ValueError: If the named network was not measured on all sets.
    """
    if reference == 'none':
        return None
    for result in results:
        if result.name == reference:
            return reference_of(result)
    module = perturbation_stability if results[0].benchmark == 'imagenet-p' else corruption_error
    return module.load_reference(reference)


def report(results: Sequence[RobustnessResult], reference: str, partial: bool, out: str | Path,
           formats: Sequence[str]) -> str:
    """Write what was measured as a figure, as CSV and as JSON, under one name.

    Args:
        results (Sequence[RobustnessResult]): The networks, of one benchmark.
        reference (str): See :func:`find_reference`.
        partial (bool): Average over part of the sets, and say so.
        out (str | Path): The figure, a PNG file.
        formats (Sequence[str]): Vector formats beside it.

    Returns:
        str: The tables, and the names of the files.

    Raises:
        SetupError: If the reference cannot be read.
        ValueError: If sets are missing, or the measurements cannot be compared.
    """
    numbers = summaries(results, find_reference(results, reference), partial)
    paths = plot_robustness(numbers, out, formats=formats)
    tables = [Path(out).with_suffix(suffix) for suffix in ('.csv', '.json')]
    write_csv(tables[0], numbers)
    write_json(tables[1], numbers)
    divided = numbers[0].reference
    lines = [corruption_table(numbers), robustness_table(numbers),
             f'100: {divided}' if divided else 'Errors as they are, not divided by those of a reference.',
             *(f'{result.name}: unreadable and left out, {", ".join(result.unreadable)}'
               for result in results if result.unreadable),
             ' '.join(['Figure and files:', *map(str, [*paths, *tables])])]
    return '\n' + '\n\n'.join(lines)
