"""Print the last validation of trainings, one line each."""
import argparse
from collections.abc import Sequence

import numpy as np

from mmgcp.analysis.tables import decimals, markdown_table
from mmgcp.utils.logs import Run, read_run
from mmgcp.utils.reported import reported


def results_table(runs: Sequence[Run], metrics: Sequence[str]) -> str:
    """Last validation of each run, a column per metric, empty where a run did not measure it.

    Args:
        runs (Sequence[Run]): The runs.
        metrics (Sequence[str]): Names of validation metrics.

    Returns:
        str: Markdown table.

    Raises:
        ValueError: If no run measured one of the metrics.
    """
    for metric in metrics:
        if not any(metric in run.metrics for run in runs):
            known = sorted({name for run in runs for name in run.metrics})
            raise ValueError(f"No run measured '{metric}': choose from {', '.join(known)}.")
    return markdown_table(['run', 'unit', 'trained', *metrics],
                          [[run.name, run.unit, str(run.val[-1]['step']), *(_last(run, m) for m in metrics)]
                           for run in runs])


def _last(run, metric):
    if metric not in run.metrics:
        return ''
    value = run.curve(metric)[1][-1]
    return f'{value:.{decimals(np.nan_to_num(value))}f}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dirs', nargs='+', metavar='WORK_DIR', help='work_dir of a training')
    parser.add_argument('--metrics', nargs='+', default=['accuracy/top1'],
                        help='metrics to print, empty for runs that lack them (default: accuracy/top1)')
    args = parser.parse_args()
    with reported(ValueError, OSError):
        print(results_table([read_run(work_dir) for work_dir in args.work_dirs], args.metrics))


if __name__ == '__main__':
    main()
