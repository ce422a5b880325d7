"""Compare the smoothness of the loss during trainings: plot Fig. 2 of the paper and print its numbers."""
import argparse

from mmgcp.analysis.figure_2 import landscape_rows, plot_landscape, read_landscapes
from mmgcp.analysis.panels import panels_of
from mmgcp.analysis.tables import markdown_table
from mmgcp.utils.arguments import add_figure_arguments, add_panel_arguments
from mmgcp.utils.reported import reported


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_panel_arguments(parser)
    parser.add_argument('--at', help='place in the network: name of a file in <work_dir>/<time>/landscape '
                                     '(default: the only one)')
    parser.add_argument('--beta', action='store_true', help='add a column with the effective beta-smoothness')
    parser.add_argument('--log', action='store_true', help='use logarithmic value axes')
    parser.add_argument('--title', default='', help='title of a single row')
    add_figure_arguments(parser, 'landscape.png')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with reported(ValueError, OSError):
        panels = {panel.title: read_landscapes(panel.work_dirs, panel.labels, args.at)
                  for panel in panels_of(args.work_dirs, args.panels, args.labels, args.title)}
        paths = plot_landscape(panels, args.out, args.beta, args.log, args.formats)
    for title, landscapes in panels.items():
        print(*filter(None, (title, markdown_table(*landscape_rows(landscapes)))), '', sep='\n')
    print('Figure:', *paths)


if __name__ == '__main__':
    main()
