"""Commands of the installed package: ``python -m mmgcp env`` prints what a bug report needs."""
import argparse
import platform

from mmgcp.experiments.environment import environment
from mmgcp.utils.versions import installed_line


def main(arguments: list[str] | None = None) -> None:
    """Run a command.

    Args:
        arguments (list[str], optional): Its name and arguments; by default those of the command line.
    """
    parser = argparse.ArgumentParser(prog='python -m mmgcp', description='Commands of the installed package.')
    commands = parser.add_subparsers(metavar='COMMAND', required=True)
    commands.add_parser('env', help='print versions, operators and hardware for bug reports').set_defaults(run=env)
    parser.parse_args(arguments).run()


def env() -> None:
    """Print the system, the line of the OpenMMLab libraries and the :func:`environment`, one fact per line."""
    for name, value in dict(system=platform.platform(), line=installed_line(), **environment()).items():
        print(f'{name:14s} {value}')


if __name__ == '__main__':
    main()
