"""Compares how smooth the loss is on the way of trainings: draws Fig. 2 of the paper and prints its numbers."""
import argparse

from mmgcp.analysis.landscape import landscape_table, plot_landscape, read_landscapes
from mmgcp.analysis.panels import panels_of
from mmgcp.utils.arguments import add_figure_arguments, add_panel_arguments
from mmgcp.utils.reported import reported


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    add_panel_arguments(parser)
    parser.add_argument('--at', help='where in the network: the name of a file in <work_dir>/<time>/landscape '
                                     '(default: the only one)')
    parser.add_argument('--zoom', nargs=2, type=float, metavar=('START', 'STOP'), help='iterations to magnify')
    parser.add_argument('--beta', action='store_true', help='third column: effective beta-smoothness')
    parser.add_argument('--log', action='store_true', help='logarithmic axes of values')
    parser.add_argument('--title', default='', help='title of a single row')
    add_figure_arguments(parser, 'landscape.png')
    return parser.parse_args()


def main():
    args = parse_args()
    with reported(ValueError, OSError):
        panels = {panel.title: read_landscapes(panel.work_dirs, panel.labels, args.at)
                  for panel in panels_of(args.work_dirs, args.panels, args.labels, args.title)}
        paths = plot_landscape(panels, args.out, args.zoom, args.beta, args.log, args.formats)
    for title, landscapes in panels.items():
        print(*filter(None, (title, landscape_table(landscapes))), '', sep='\n')
    print('Figure:', *paths)


if __name__ == '__main__':
    main()
