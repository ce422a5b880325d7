"""Print Table 2 of the paper for trainings: settings, epoch at which they match average pooling, and accuracy."""
import argparse

from mmgcp.analysis.table_2 import table_2
from mmgcp.analysis.tables import markdown_table, save_table
from mmgcp.apis.trainings import read_trainings
from mmgcp.utils.reported import reported


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dirs', nargs='+', metavar='WORK_DIR', help='work_dir of a training')
    parser.add_argument('--labels', nargs='+', help='names of the runs (default: names of the folders)')
    parser.add_argument('--reference', metavar='LABEL',
                        help='run to match (default: the first of each network with average pooling)')
    parser.add_argument('--metrics', nargs='+', default=['accuracy/top1', 'accuracy/top5'],
                        help='validation metrics; the first is matched (default: accuracy/top1 accuracy/top5)')
    parser.add_argument('--out', metavar='FILE', help='also write the table to this file, .md or .csv')
    args = parser.parse_args()
    with reported(ValueError, OSError):
        header, rows = table_2(read_trainings(args.work_dirs, args.labels), args.metrics, args.reference)
        if args.out:
            save_table(header, rows, args.out)
    print(markdown_table(header, rows))


if __name__ == '__main__':
    main()
