"""Report the results of a robustness benchmark as tables, a figure and files."""
from collections.abc import Sequence
from pathlib import Path

from mmgcp.analysis.robustness import RobustnessResult, reference_of, summaries
from mmgcp.analysis.robustness_figure import plot_robustness
from mmgcp.analysis.robustness_tables import corruption_table, robustness_table, sample_note, write_csv, write_json
from mmgcp.robustness.corruptions import load_corruption_reference
from mmgcp.robustness.perturbations import load_perturbation_reference
from mmgcp.utils.errors import SetupError

from .benchmarks import Benchmark


def check_reference(reference: str, names: Sequence[str], benchmark: Benchmark) -> None:
    """Check the reference, an argument of :func:`write_report`, before networks of some names are tested.

    Raises:
        SetupError: If it cannot be read, is a network of a partial test, or does not belong to the benchmark.
    """
    if benchmark.name == 'coco-c' and reference != 'none':
        raise SetupError('COCO-C has no reference: rPC is relative to the clean images')
    if reference in names and not benchmark.whole:
        raise SetupError(f"'{reference}' cannot be the reference: it must be tested on all sets")
    if reference not in ('none', *names):
        _load(reference, benchmark.name)


def write_report(results: Sequence[RobustnessResult], reference: str, partial: bool, out: str | Path,
                 formats: Sequence[str]) -> str:
    """Write the results on one benchmark as a figure, as CSV and as JSON, and return the tables as text.

    Args:
        results (Sequence[RobustnessResult]): Results of the networks.
        reference (str): Network whose errors count as 100: ``'none'``, ``'alexnet'``, the name of one of the networks,
            or a JSON file of another test.
        partial (bool): Allow means over part of the sets, marked as such.
        out (str | Path): The figure, a PNG file; the others are named after it.
        formats (Sequence[str]): Additional vector formats of the figure.

    Raises:
        SetupError: If the reference cannot be read.
        ValueError: If sets are missing, or the measurements cannot be compared.
    """
    named = next((result for result in results if result.name == reference), None)
    errors = reference_of(named) if named else None if reference == 'none' else _load(reference, results[0].benchmark)
    numbers = summaries(results, errors, partial)
    paths = plot_robustness(numbers, out, formats=formats)
    tables = [Path(out).with_suffix(suffix) for suffix in ('.csv', '.json')]
    write_csv(tables[0], numbers)
    write_json(tables[1], numbers)
    divided = numbers[0].reference
    lines = [corruption_table(numbers), robustness_table(numbers), sample_note(numbers),
             f'100: {divided}' if divided else 'Errors as they are, not divided by those of a reference.',
             *(f'{result.name}: unreadable and left out, {", ".join(result.unreadable)}'
               for result in results if result.unreadable),
             ' '.join(['Figure and files:', *map(str, [*paths, *tables])])]
    return '\n' + '\n\n'.join(lines)


def _load(reference, benchmark):
    return (load_perturbation_reference if benchmark == 'imagenet-p' else load_corruption_reference)(reference)
