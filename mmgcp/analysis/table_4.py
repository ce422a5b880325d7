"""Table 4 of the paper (Wang et al., CVPR 2020) from the JSON files of robustness tests."""
import json
from collections.abc import Sequence
from pathlib import Path

from .robustness_tables import table_of_means


def table_4(paths: Sequence[str | Path]) -> str:
    """Join files of tools/test_robustness.py in one Markdown table, with a row per network.

    Differences are from the first network of the file in which a network first appears: GCP from GAP, by architecture.

    Raises:
        ValueError: If a file is missing or of another kind, or two files differ in a number, or in the reference or
            images of a metric.
    """
    rows, firsts, errors, conditions = {}, {}, {}, {}
    for path in paths:
        networks = _read_networks(path)
        for network in networks:
            name, metrics = network['name'], network['metrics']
            firsts.setdefault(name, networks[0]['name'])
            if firsts[name] == networks[0]['name']:
                errors.setdefault(name, {}).update(network.get('standard_errors', {}))
            row = rows.setdefault(name, {})
            for metric, value in metrics.items():
                _check_same(metric, network, path, conditions)
                if row.setdefault(metric, value) != value:
                    raise ValueError(f"'{path}' has another '{metric}' of '{name}' than the files before: give each "
                                     'network its own name with --labels.')
    return table_of_means(rows, firsts, errors)


def _check_same(metric, network, path, conditions):
    """Refuse a metric of other images, or with another reference, than the first network that has it."""
    keys = ['subset'] if metric == 'clean error' else ['divided_by', 'subset', 'origin']
    own = {key: network.get(key) or 'none' for key in keys}
    first, known = conditions.setdefault(metric, (path, own))
    differing = [f'{key}: {known[key]} and {own[key]}' for key in keys if known[key] != own[key]]
    if differing:
        raise ValueError(f"'{metric}' of '{first}' and of '{path}' cannot stand in one column "
                         f"({'; '.join(differing)}): measure them alike.")


def _read_networks(path):
    try:
        networks = json.loads(Path(path).read_text(encoding='utf-8'))['networks']
        return [dict(network, name=network['name'], metrics=network['metrics']) for network in networks]
    except FileNotFoundError:
        raise ValueError(f"'{path}' does not exist: measure with tools/test_robustness.py first.") from None
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"'{path}' is no JSON file of tools/test_robustness.py.") from None
