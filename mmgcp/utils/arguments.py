"""Options that several command lines share."""
import argparse

from mmengine.config import DictAction


def common_parser(description: str) -> argparse.ArgumentParser:
    """Command line that training and testing share, as MMPretrain's and MMDetection's tools have it."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='where logs and checkpoints go (default: work_dirs/NAME_OF_CONFIG)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={},
                        help='settings that replace those of the config: key=value, key="[a,b]", key.subkey=value')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser


def add_panel_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``WORK_DIR ...``, ``--panel`` and ``--labels``, which :func:`mmgcp.analysis.panels.panels_of` reads."""
    parser.add_argument('work_dirs', nargs='*', metavar='WORK_DIR', help='work_dir of a training, for a single panel')
    parser.add_argument('--panel', nargs='+', action='append', default=[], dest='panels',
                        metavar=('TITLE', 'WORK_DIR'), help='a panel with the trainings of a network; may be repeated')
    parser.add_argument('--labels', nargs='+',
                        help='names of the runs, or of those in each panel (default: names of the folders)')


def add_figure_arguments(parser: argparse.ArgumentParser, default: str) -> None:
    """Add ``--out`` and ``--formats``, where a figure goes and its vector formats.

    Args:
        parser (argparse.ArgumentParser): Command line of a tool.
        default (str): Name of the figure, a PNG file.
    """
    parser.add_argument('--out', default=default, metavar='FIGURE.png', help='(default: %(default)s)')
    parser.add_argument('--formats', nargs='+', default=['pdf'], choices=['pdf', 'svg'],
                        help='vector files to write beside the PNG (default: pdf)')
