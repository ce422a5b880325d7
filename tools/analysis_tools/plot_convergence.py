"""Plot the accuracy of trainings over epochs (Figs. 1 and 3 of the paper), and print matching epochs."""
import argparse

from mmgcp.analysis.convergence import convergence_table, plot_convergence_panels, read_validated_runs
from mmgcp.analysis.panels import panels_of
from mmgcp.utils.arguments import add_figure_arguments, add_panel_arguments
from mmgcp.utils.logs import read_runs
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
