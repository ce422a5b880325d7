"""Commands of the installed package, ``mmgcp COMMAND`` or ``python -m mmgcp COMMAND``; most run a script in tools."""
import argparse
import ast
import difflib
import importlib.util
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from mmgcp.utils.configs import configs_folder

TOOLS = {'train': 'train.py', 'test': 'test.py', 'predict': 'predict.py', 'export': 'export.py',
         'robustness': 'test_robustness.py', 'with-gcp': 'with_gcp.py', 'probe': 'probe.py'}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command, or list all.

    Args:
        arguments (Sequence[str], optional): Name and arguments of the command. Default: those of the command line.
    """
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ['--help']
    if name in ('-h', '--help'):
        print(_overview())
    elif name in TOOLS:
        _run_tool(name, rest)
    elif name in COMMANDS:
        COMMANDS[name](rest)
    else:
        nearest = difflib.get_close_matches(name, [*TOOLS, *COMMANDS], n=1, cutoff=0)[0]
        sys.exit(f"\nStopped: mmgcp has no command '{name}': the nearest name is {nearest}.")


def env(arguments: Sequence[str] = ()) -> None:
    """Print the versions, operators and hardware that a bug report needs."""
    argparse.ArgumentParser(prog='mmgcp env', description=env.__doc__).parse_args(arguments)
    from mmgcp.experiments.environment import environment
    from mmgcp.utils.versions import installed_line
    for name, value in dict(system=platform.platform(), line=installed_line(), **environment()).items():
        print(f'{name:14s} {value}')


def zoo(arguments: Sequence[str] = ()) -> None:
    """List the networks of the model zoo with their published accuracies."""
    parser = argparse.ArgumentParser(prog='mmgcp zoo', description=zoo.__doc__)
    parser.add_argument('pattern', nargs='?', default='*', help="names to list, such as 'resnet50*' (default: all)")
    pattern = parser.parse_args(arguments).pattern
    from mmgcp.utils.reported import reported
    from mmgcp.zoo.listing import listing
    with reported():
        print(listing(pattern))


COMMANDS = {'zoo': zoo, 'env': env}


def _tool(name: str) -> Path:
    return configs_folder().parent / 'tools' / TOOLS[name]


def _overview() -> str:
    documented = {name: ast.get_docstring(ast.parse(_tool(name).read_text())) for name in TOOLS}
    documented |= {name: command.__doc__ for name, command in COMMANDS.items()}
    lines = [f'  {name:10s}  {text.splitlines()[0]}' for name, text in documented.items()]
    return '\n'.join(['usage: mmgcp COMMAND ...\n', *lines, '\nThe options of a command: mmgcp COMMAND --help'])


def _run_tool(name: str, arguments: Sequence[str]) -> None:
    sys.argv = [f'mmgcp {name}', *arguments]
    spec = importlib.util.spec_from_file_location(_tool(name).stem, _tool(name))
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.main()


if __name__ == '__main__':
    main()
