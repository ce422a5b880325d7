"""Tables, CSV and JSON of robustness, from the summaries of :mod:`mmgcp.analysis.robustness`."""
import contextlib
import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from .robustness import RobustnessSummary, check_comparable, main_metrics, reference_of, rows_of
from .tables import arrow, markdown_table


def robustness_table(summaries: Sequence[RobustnessSummary]) -> str:
    """Write the means of networks as Table 4 does, with the differences to the first.

    Args:
        summaries (Sequence[RobustnessSummary]): The networks. Those of several benchmarks may stand one after the
            other: the rows of a name become one.

    Returns:
        str: Markdown table, a row per network. Of COCO-C it has the mean average precisions, without those of a size
        or an overlap.
    """
    columns, rows = {}, {}
    for summary in summaries:
        columns.update({summary.label(metric): metric for metric in summary.metrics if 'mAP_' not in metric})
        rows.setdefault(summary.result.name, {}).update(
            {summary.label(metric): value for metric, value in summary.metrics.items()})
    first = next(iter(rows.values()))
    cells = [[name, *(_cell(row.get(column), None if row is first else first.get(column), _digits(metric))
                      for column, metric in columns.items())] for name, row in rows.items()]
    return markdown_table(['network', *columns], cells)


def corruption_table(summaries: Sequence[RobustnessSummary]) -> str:
    """Write what networks reach on each corruption or perturbation.

    Args:
        summaries (Sequence[RobustnessSummary]): The networks, of one benchmark.

    Returns:
        str: A Markdown table for each of :func:`~mmgcp.analysis.robustness.main_metrics`, a row per corruption, a
        column per network.

    Raises:
        ValueError: If the networks were not measured on one benchmark.
    """
    check_comparable([summary.result for summary in summaries])
    tables, names = [], [summary.result.name for summary in summaries]
    for metric in main_metrics(summaries[0]):
        rows = [[f"{group}: {name.replace('_', ' ')}",
                 *(_cell(summary.corruptions.get(name, {}).get(metric), None, _digits(metric))
                   for summary in summaries)] for group, name in rows_of(summaries, metric)]
        tables.append(markdown_table([summaries[0].label(metric), *names], rows))
    return '\n\n'.join(tables)


def write_csv(path: str | Path, summaries: Sequence[RobustnessSummary]) -> None:
    """Write all numbers, one a line: network, corruption, severity, metric, value.

    The severity is empty for what is over severities, the corruption too for what is over corruptions.

    Args:
        path (str | Path): File to write; missing folders are made. It is replaced as a whole.
        summaries (Sequence[RobustnessSummary]): The networks.
    """
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
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['network', 'corruption', 'severity', 'metric', 'value'])
    writer.writerows([*key, value] for key, value in rows.items())
    _write(path, text.getvalue())


def write_json(path: str | Path, summaries: Sequence[RobustnessSummary]) -> None:
    """Write all numbers, and what was measured.

    Args:
        path (str | Path): File to write; missing folders are made. It is replaced as a whole.
        summaries (Sequence[RobustnessSummary]): The networks. The entry of one that was measured on all sets is a
            reference too, see :func:`reference_of`.
    """
    networks = []
    for summary in summaries:
        result = summary.result
        entry = {'name': result.name, 'benchmark': result.benchmark, 'divided_by': summary.reference,
                 'sets_measured': summary.measured, 'sets_needed': summary.needed,
                 'metrics': _labelled(summary, summary.metrics),
                 'corruptions': {name: _labelled(summary, values) for name, values in summary.corruptions.items()},
                 'sets': result.sets, 'unreadable': list(result.unreadable)}
        with contextlib.suppress(ValueError):  # part of the sets makes no reference
            entry |= reference_of(result)
        networks.append(entry)
    _write(path, json.dumps({'networks': networks}, indent=1, allow_nan=False) + '\n')


def _digits(metric):
    """Decimals as in the papers: one for percentages, three for precisions as shares."""
    if 'uT5D' in metric:
        return 2
    return 3 if 'mAP' in metric and not metric.endswith('rPC') else 1


def _cell(value, first, digits):
    if value is None:
        return 'N/A'
    return f'{value:.{digits}f}' + ('' if first is None else f' ({arrow(value - first, digits)})')


def _labelled(summary, values):
    return {summary.label(metric): value for metric, value in values.items()}


def _write(path, text):
    """Write a file under another name and rename it, so that an interrupted run leaves no half file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + '.part')
    part.write_text(text, encoding='utf-8')
    part.replace(path)
