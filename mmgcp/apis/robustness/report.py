"""Report the results of robustness benchmarks as tables, a figure and files."""
from collections.abc import Sequence
from pathlib import Path

from mmgcp.analysis.robustness import RobustnessResult, RobustnessSummary, check_divisible, reference_of, summaries
from mmgcp.analysis.robustness_figure import plot_overview, plot_robustness
from mmgcp.analysis.robustness_tables import corruption_table, robustness_table, sample_note, write_csv, write_json
from mmgcp.robustness.corruptions import load_corruption_reference
from mmgcp.robustness.perturbations import load_perturbation_reference
from mmgcp.utils.errors import SetupError

from .benchmarks import ALL, Benchmark


def check_reference(reference: str, names: Sequence[str], benchmark: Benchmark) -> None:
    """Check the ``reference`` of :func:`summarise` before the networks ``names`` are tested.

    Raises:
        SetupError: If it cannot be read, is a network of a partial test, does not belong to the benchmark, or was
            measured on other images.
        ValueError: If the benchmark has no reference.
    """
    if reference == 'none':
        return
    check_divisible(benchmark.name)
    if reference in names and not benchmark.whole:
        raise SetupError(f"'{reference}' cannot be the reference: it must be tested on all sets")
    if reference == 'alexnet' and benchmark.name in ('imagenet-c-bar', 'imagenet-3dcc'):
        raise SetupError(f"AlexNet's errors are known on imagenet-c, not on {benchmark.name}: take plain means, or one "
                         'of the networks by its label')
    if reference in names:
        return
    measured = _load(reference, benchmark.name)
    for key, ours in (('subset', benchmark.subset_title), ('origin', benchmark.origin)):
        if measured.get(key, ours) != ours:
            raise SetupError(f"the reference '{reference}' was measured on other images ({key}: "
                             f"{measured[key] or 'none'}; here: {ours or 'none'}): measure it on these")


def summarise(results: Sequence[RobustnessResult], reference: str, partial: bool) -> list[RobustnessSummary]:
    """Average the results on one benchmark.

    Errors of ``reference`` count as 100: ``'none'``, ``'alexnet'``, the name of one of the networks, or a JSON file of
    another test. ``partial`` allows means over part of the sets, marked as such.

    Raises:
        SetupError: If the reference cannot be read.
        ValueError: If sets are missing, or the measurements cannot be compared.
    """
    named = next((result for result in results if result.name == reference), None)
    errors = reference_of(named) if named else None if reference == 'none' else _load(reference, results[0].benchmark)
    return summaries(results, errors, partial)


def write_report(groups: Sequence[Sequence[RobustnessSummary]], out: str | Path, formats: Sequence[str]) -> str:
    """Write the numbers on each benchmark as a figure, as CSV and as JSON, and return the tables as text.

    Several benchmarks share a table and a figure with one number each, besides the clean error. ``out`` is the figure,
    a PNG file, after which the others and its further vector ``formats`` are named.
    """
    numbers = [summary for group in groups for summary in group]
    if len(groups) == 1:
        tables, paths = [corruption_table(numbers), robustness_table(numbers)], plot_robustness(
            numbers, out, formats)
    else:
        tables, paths = [robustness_table([summary.headline for summary in numbers])], plot_overview(
            numbers, out, formats)
    files = [Path(out).with_suffix(suffix) for suffix in ('.csv', '.json')]
    write_csv(files[0], numbers)
    write_json(files[1], numbers)
    missing = [name for name in ALL if len(groups) > 1 and name not in {s.result.benchmark for s in numbers}]
    notes = {}
    for group in groups:
        for line in _notes(group):
            notes.setdefault(line, []).append(group[0].result.benchmark)
    named = [f'{line} ({", ".join(names)})' if len(groups) > 1 else line for line, names in notes.items()]
    lines = [*tables, *named,
             *([f'Left out: {", ".join(missing)}.'] if missing else []),
             ' '.join(['Figure and files:', *map(str, [*paths, *files])])]
    return '\n' + '\n\n'.join(lines)


def _notes(summaries):
    """Return notes on the photos, reference and unreadable files behind the numbers on a benchmark."""
    divided = summaries[0].reference
    return [sample_note(summaries),
            f'100: {divided}' if divided else 'Errors as they are, not divided by those of a reference.',
            *(f'{result.name}: unreadable and left out, {", ".join(result.unreadable)}'
              for result, *_ in summaries if result.unreadable)]


def _load(reference, benchmark):
    return (load_perturbation_reference if benchmark == 'imagenet-p' else load_corruption_reference)(reference)
