"""Tables, CSV and JSON of robustness, from the summaries of :mod:`mmgcp.analysis.robustness`."""
import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmgcp.utils.records import write_whole

from .robustness import RobustnessSummary, check_comparable, main_metrics, paired_error, reference_of, rows_of
from .tables import markdown_table, number_cell, save_table


def robustness_table(summaries: Sequence[RobustnessSummary]) -> str:
    """Write a Markdown table like Table 4: a row per network, with the differences to the first.

    Differences have their standard error over photos where outcomes are known. Networks of one name, measured on
    several benchmarks, share a row. Average precisions of a size or an overlap are left out.
    """
    rows, errors = {}, {}
    for summary in summaries:
        name = summary.result.name
        rows.setdefault(name, {}).update(_labelled(summary, summary.metrics))
        for base in summaries:
            if (base.result.name, base.result.benchmark) == (summaries[0].result.name, summary.result.benchmark):
                errors.setdefault(name, {}).update(standard_errors(summary, base))
    return table_of_means(rows, dict.fromkeys(rows, next(iter(rows))), errors)


def standard_errors(summary: RobustnessSummary, base: RobustnessSummary) -> dict[str, float]:
    """Compute the standard errors over photos of the differences of two networks, by label of the metric."""
    errors = {metric: paired_error(summary, base, metric) for metric in summary.metrics}
    return {summary.label(metric): error for metric, error in errors.items() if error is not None}


def sample_note(summaries: Sequence[RobustnessSummary]) -> str:
    """Say how many photos the numbers come from, and what ± means."""
    photos = {summary.result.name: summary.result.photos for summary in summaries}
    subset = summaries[0].result.subset and f' ({summaries[0].result.subset})'
    if None in photos.values():
        return 'Number of photos not recorded.'
    if len(set(photos.values())) > 1:
        return f"Measured on different photos: {', '.join(f'{name} on {number}' for name, number in photos.items())}."
    note = f'Measured on {summaries[0].result.photos} photos{subset}.'
    if len(summaries) > 1 and all(standard_errors(summary, summaries[0]) for summary in summaries[1:]):
        return (f'{note} Differences ± their standard error over photos (paired), without the spread between '
                'trainings.')
    return note


def corruption_table(summaries: Sequence[RobustnessSummary]) -> str:
    """Write a Markdown table for each main metric: a row per corruption or perturbation, a column per network.

    Raises:
        ValueError: If the networks were not measured on one benchmark.
    """
    check_comparable([summary.result for summary in summaries])
    tables, names = [], [summary.result.name for summary in summaries]
    for metric in main_metrics(summaries[0]):
        tables.append(markdown_table([summaries[0].label(metric), *names], corruption_rows(summaries, metric)))
    return '\n\n'.join(tables)


def corruption_rows(summaries: Sequence[RobustnessSummary], metric: str) -> list[list[str]]:
    """List the rows of a table of one metric: name of the corruption, and a value per network."""
    return [[f"{group}: {name.replace('_', ' ')}",
             *(number_cell(summary.corruptions.get(name, {}).get(metric), digits_of(metric)) for summary in summaries)]
            for group, name in rows_of(summaries, metric)]


def write_csv(path: str | Path, summaries: Sequence[RobustnessSummary]) -> None:
    """Write all numbers as CSV: network, corruption, severity, metric, value; means have empty cells."""
    rows = {}
    for summary in summaries:
        for name, values in summary.sets.items():
            corruption, _, severity = name.partition('/')
            severity = '0' if name == 'clean' else severity
            rows.update({(summary.result.name, corruption, severity, metric): value
                         for metric, value in values.items()})
        for corruption, values in {**summary.corruptions, '': summary.metrics}.items():
            rows.update({(summary.result.name, corruption, '', summary.label(metric)): value
                         for metric, value in values.items()})
    save_table(['network', 'corruption', 'severity', 'metric', 'value'], [[*key, rows[key]] for key in rows], path)


def write_json(path: str | Path, summaries: Sequence[RobustnessSummary]) -> None:
    """Write all numbers and measurements; the entry of a network tested on all sets can serve as a reference."""
    networks = []
    for summary in summaries:
        result = summary.result
        base = next(first for first in summaries if first.result.benchmark == result.benchmark)
        entry = {'name': result.name, 'benchmark': result.benchmark, 'divided_by': summary.reference,
                 'sets_measured': summary.measured, 'sets_needed': summary.needed,
                 'photos': result.photos, 'subset': result.subset, 'origin': result.origin,
                 'metrics': _labelled(summary, summary.metrics),
                 'standard_errors': standard_errors(summary, base) if summary is not base else {},
                 'corruptions': {name: _labelled(summary, values) for name, values in summary.corruptions.items()},
                 'sets': result.sets, 'unreadable': list(result.unreadable)}
        with contextlib.suppress(ValueError):  # part of the sets makes no reference
            entry |= reference_of(result)
        networks.append(entry)
    write_whole(path, json.dumps({'networks': networks}, indent=1, allow_nan=False) + '\n')


def table_of_means(rows: Mapping[str, Mapping], firsts: Mapping[str, str], errors: Mapping[str, Mapping]) -> str:
    """Write a row per network, with the differences to the one that ``firsts`` names and their standard errors."""
    columns = list(dict.fromkeys(metric for row in rows.values() for metric in row if 'mAP_' not in metric))
    cells = []
    for name, row in rows.items():
        base = {} if firsts[name] == name else rows[firsts[name]]
        cells.append([name, *(number_cell(row.get(column), digits_of(column), base.get(column),
                                          errors.get(name, {}).get(column)) for column in columns)])
    return markdown_table(['network', *columns], cells)


def digits_of(metric: str) -> int:
    """Return the decimals of a metric as in the papers."""
    if 'uT5D' in metric:
        return 2
    return 3 if 'mAP' in metric and 'rPC' not in metric else 1


def _labelled(summary, values):
    return {summary.label(metric): value for metric, value in values.items()}
