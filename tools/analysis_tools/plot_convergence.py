"""Compares trainings: draws accuracy against epochs (Fig. 1 of the paper) and prints matching epochs (Table 2)."""
import argparse
import sys
import warnings

from mmgcp.analysis import convergence_table, format_table, plot_convergence, read_runs


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dirs', nargs='+', metavar='WORK_DIR', help='work_dir of a training')
    parser.add_argument('--labels', nargs='+', help='names of the runs (default: names of the folders)')
    parser.add_argument('--reference', metavar='LABEL', help='run whose best value is to match (default: the first)')
    parser.add_argument('--metric', default='accuracy/top1', help='validation metric (default: %(default)s)')
    parser.add_argument('--title', help='title of the figure')
    parser.add_argument('--out', default='convergence.png', metavar='FIGURE.png', help='(default: %(default)s)')
    parser.add_argument('--formats', nargs='+', default=['pdf'], choices=['pdf', 'svg'],
                        help='vector files to write beside the PNG (default: pdf)')
    return parser.parse_args()


def main():
    args = parse_args()
    warnings.formatwarning = lambda message, *_: f'Warning: {message}\n'
    try:
        runs = read_runs(args.work_dirs, args.labels)
        rows = convergence_table(runs, args.metric, args.reference)
        paths = plot_convergence(runs, args.metric, args.out, args.reference, args.title, args.formats)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(format_table(rows, runs[0].unit, args.reference))
    print('\nFigure:', *paths)
    return 0


if __name__ == '__main__':
    sys.exit(main())
