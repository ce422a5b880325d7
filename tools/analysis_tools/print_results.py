"""Print the last validation of trainings, one line each."""
import argparse

from mmgcp.analysis.comparison import results_table
from mmgcp.utils.logs import read_run
from mmgcp.utils.reported import reported


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
