"""Command-line options shared by several tools."""
import argparse
import re
from collections.abc import Callable

from mmengine.config import DictAction


class Options(DictAction):
    """Settings ``KEY=VALUE`` of a config; values and elements of lists keep the spaces within them, as paths need."""

    @staticmethod
    def _parse_iterable(val: str) -> object:
        text = val.strip('\'"')
        if ' ' in text and text[0] not in '[(':
            return text
        # MMEngine drops all spaces of a list.
        kept = re.sub(r'(?<=[^ ,[(]) +(?=[^ ,\])])', lambda spaces: '\0' * len(spaces[0]), text)
        return _with_spaces(DictAction._parse_iterable(kept))


def _with_spaces(value):
    if isinstance(value, (list, tuple)):
        return type(value)(map(_with_spaces, value))
    return value.replace('\0', ' ') if isinstance(value, str) else value


def at_least(lowest: int) -> Callable[[str], int]:
    """Create an argument type for integers with a lower bound."""

    def integer(text: str) -> int:
        if int(text) < lowest:
            raise argparse.ArgumentTypeError(f'{text} must be an integer of at least {lowest}')
        return int(text)

    return integer


def common_parser(description: str) -> argparse.ArgumentParser:
    """Create the parser shared by training and testing, with the options of MMPretrain's and MMDetection's tools."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='folder for logs and checkpoints (default: work_dirs/NAME_OF_CONFIG)')
    parser.add_argument('--cfg-options', nargs='+', action=Options, default={},
                        help='settings that override the config: key=value, key="[a,b]", key.subkey=value')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser


def add_panel_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``WORK_DIR ...``, ``--panel`` and ``--labels``, the arguments of :func:`mmgcp.analysis.panels.panels_of`."""
    parser.add_argument('work_dirs', nargs='*', metavar='WORK_DIR', help='work_dir of a training, for a single panel')
    parser.add_argument('--panel', nargs='+', action='append', default=[], dest='panels',
                        metavar=('TITLE', 'WORK_DIR'), help='a panel with several trainings; may be repeated')
    parser.add_argument('--labels', nargs='+',
                        help='names of the runs, or of those in each panel (default: names of the folders)')


def add_figure_arguments(parser: argparse.ArgumentParser, default: str) -> None:
    """Add ``--out`` and ``--formats``: the file of a figure, by default the PNG ``default``, and its vector formats."""
    parser.add_argument('--out', default=default, metavar='FIGURE.png', help='(default: %(default)s)')
    parser.add_argument('--formats', nargs='+', default=['pdf'], choices=['pdf', 'svg'],
                        help='vector files to write beside the PNG (default: pdf)')
