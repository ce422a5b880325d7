"""Plot samples of the data and the accuracy of trainings of the same length over epochs, for a first look."""
import argparse
from pathlib import Path

from mmgcp.analysis.comparison import plot_comparison
from mmgcp.datasets.class_folders import subfolders
from mmgcp.utils.logs import read_runs
from mmgcp.utils.reported import reported


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dirs', nargs='+', metavar='WORK_DIR', help='work_dir of a training')
    parser.add_argument('--labels', nargs='+', required=True, help='a name for each training')
    parser.add_argument('--images', type=Path, required=True, help='folder with one folder of images per class')
    parser.add_argument('--out', default='comparison.png', help='PNG file to write (default: %(default)s)')
    args = parser.parse_args()
    with reported(ValueError, OSError):
        pictures = [min(files) for name in subfolders(args.images)
                    if (files := [path for path in (args.images / name).glob('[!.]*') if path.is_file()])]
        print('Figure:', *plot_comparison(read_runs(args.work_dirs, args.labels), pictures[:12], args.out))


if __name__ == '__main__':
    main()
