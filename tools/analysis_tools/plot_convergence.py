"""Plot the accuracy of trainings over epochs (Figs. 1 and 3 of the paper), and print matching epochs."""
import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path

from mmgcp.analysis.convergence import convergence_table, plot_convergence_panels
from mmgcp.analysis.panels import panels_of
from mmgcp.utils.arguments import add_figure_arguments, add_panel_arguments
from mmgcp.utils.logs import Run, read_runs
from mmgcp.utils.records import read_lines
from mmgcp.utils.reported import reported


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_panel_arguments(parser)
    parser.add_argument('--reference', metavar='LABEL',
                        help='run of each panel whose final value the others match (default: the first)')
    parser.add_argument('--metric', default='accuracy/top1', help='validation metric (default: %(default)s)')
    parser.add_argument('--title', default='Convergence curves', help='title of a single panel')
    add_figure_arguments(parser, 'convergence.png')
    return parser.parse_args()


def read_validated_runs(work_dirs: Sequence[str | Path], labels: Sequence[str] | None = None,
                        reference: str | None = None) -> list[Run]:
    """Read runs, some of which may still be going on, with a warning for what is not validated yet and left out.

    Args:
        work_dirs (Sequence[str | Path]): One work directory per run.
        labels (Sequence[str], optional): One name per run. Default: names of the folders.
        reference (str, optional): Name of the run to match. Default: the first one.

    Raises:
        ValueError: If the first run, which is the reference by default, has not been validated, none is left, or as
            :func:`~mmgcp.utils.logs.read_runs`.
    """
    validated = [_is_validated(Path(work_dir)) for work_dir in work_dirs]
    if not any(validated) or (reference is None and not validated[0]):
        return read_runs(work_dirs[:1])  # which tells what is missing
    for work_dir in (work_dir for work_dir, known in zip(work_dirs, validated, strict=True) if not known):
        warnings.warn(f"'{work_dir}' has not been validated yet and was left out.", stacklevel=2)
    kept = [index for index, known in enumerate(validated) if known]
    runs = read_runs([work_dirs[index] for index in kept], labels and [labels[index] for index in kept])
    for run in runs:
        key = 'epoch' if run.unit == 'epoch' else 'iter'
        trained, last = (run.train[-1].get(key, 0) if run.train else 0), run.val[-1]['step']
        if trained > last:
            warnings.warn(f"'{run.name}' was trained up to {run.unit} {trained}, but its last validation is that of "
                          f'{run.unit} {last}.', stacklevel=2)
    return runs


def _is_validated(work_dir):
    """Whether a training has logged a validation; True where there is no log, which is reported later."""
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # lines that are cut off are reported when the log is read
        return not logs or any('iter' not in record for log in logs for record in read_lines(log))


def main() -> None:
    args = parse_args()
    with reported(ValueError, OSError):
        panels = {}
        for title, work_dirs, labels in panels_of(args.work_dirs, args.panels, args.labels, args.title):
            # With several panels, plot those that are ready even if some runs have not been validated yet.
            panels[title] = (read_validated_runs(work_dirs, labels, args.reference) if args.panels else
                             read_runs(work_dirs, labels))
        tables = {title: convergence_table(runs, args.metric, args.reference) for title, runs in panels.items()}
        paths = plot_convergence_panels(panels, args.metric, args.out, args.reference, args.formats)
    for title, table in tables.items():
        print(*filter(None, (args.panels and title, table)), '', sep='\n')
    print('Figure:', *paths)


if __name__ == '__main__':
    main()
