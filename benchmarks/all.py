"""Run all benchmarks on one machine, one after another, and write a page with all tables.

    python -m benchmarks.all [--device cuda] [--only NAME ...] [--tiny] [--save results/benchmarks]

Each runs in its own process, with settings for the device; finished tables are kept if a later benchmark fails or is
interrupted. --tiny uses the smallest sizes, to check that everything runs.
"""
import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection
from pathlib import Path

import torch

from benchmarks.measure import add_save_option, needs_device
from mmgcp.analysis.tables import markdown_table
from mmgcp.experiments.environment import environment

# Arguments of a benchmark: on a CPU, on a GPU, and at the smallest sizes on either.
FAST = '--amp --channels-last --fused-sgd'
BENCHMARKS = {
    'operator': ('--methods', '--batch 256 --methods 64', '--batch 2 --repeats 1 --methods'),
    'fused': (None, '--repeats 3', '--batches 2 --repeats 1'),
    'networks': ('', '--batch 256 --repeats 9 --networks resnet50',
                 '--batch 2 --size 64 --repeats 1 --networks resnet18'),
    f'networks {FAST}': (None, '--batch 256 --repeats 9', '--batch 2 --size 64 --repeats 1 --networks resnet18'),
    'training': ('--batch 32 --steps 6 --warm-up 1 --photos 300',
                 '--batch 256 --steps 32 --photos 300 --cfg-options optim_wrapper.type=mmgcp.BFloat16OptimWrapper',
                 '--batch 2 --steps 2 --photos 20 --workers 0 --configs configs/gcp/resnet18_gcp_m_imagenet.py'),
    'detection': ('--repeats 3', '', '--height 64 --width 96 --repeats 1'),
    'options': ('', '--batch 256 --repeats 9', '--batch 4 --size 64 --repeats 1'),
    'methods --amp': ('', '--batch 64 --repeats 3', '--batch 2 --size 64 --repeats 1'),
    'representations': ('', '--batch 256', '--batch 2 --size 4 --repeats 1'),
    'options --options compile': (None, '--batch 256 --repeats 9', '--batch 4 --size 64 --repeats 1'),
    'loading': ('', '', '--photos 8 --batch 4 --repeats 1 --workers 0'),
    # These compute on the CPU alone.
    'precision': ('', None, '--batch 1'),
    'robustness': ('', None, '--images 12 --size 32 --workers 0 --repeats 1'),
}


def command(name: str, args: argparse.Namespace, folder: Path) -> list[str] | None:
    """Command line of a benchmark; None if it does not run on the device."""
    on_cpu, on_gpu, tiny = BENCHMARKS[name]
    settings = on_gpu if args.device.type == 'cuda' else on_cpu
    if settings is None:
        return None
    module, *options = name.split()
    device = [] if module in ('loading', 'precision', 'robustness') else ['--device', str(args.device)]
    return [sys.executable, '-m', f'benchmarks.{module}', *options, *(tiny if args.tiny else settings).split(), *device,
            '--save', str(folder)]


def page(folder: Path, device: torch.device, older: Collection[tuple[Path, int]] = ()) -> str:
    """The tables in a folder under the name of the machine, but those that were there before, perhaps of another one.

    Args:
        folder (Path): Folder of CSV files.
        device (torch.device): What computed.
        older (Collection[tuple[Path, int]]): Files that were there, by :func:`files`.
    """
    made_on = environment(device=device)
    tables = [f'## {path.stem}\n\n{table(path)}\n' for path, _ in sorted(files(folder) - set(older))]
    return '\n'.join([f'# Benchmarks on {made_on["hardware"]}\n',
                      '\n'.join(f'- {key}: {value}' for key, value in made_on.items()) + '\n', *tables])


def files(folder: Path) -> set[tuple[Path, int]]:
    """CSV files in a folder, with the time of their last change in nanoseconds."""
    return {(path, path.stat().st_mtime_ns) for path in folder.glob('*.csv')}


def table(path: Path) -> str:
    """A CSV file as Markdown."""
    with path.open(newline='') as file:
        header, *rows = csv.reader(file)
    return markdown_table(header, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', type=torch.device, default=torch.device('cpu'))
    parser.add_argument('--only', nargs='+', choices=sorted({name.split()[0] for name in BENCHMARKS}),
                        help='run only these')
    parser.add_argument('--tiny', action='store_true', help='use the smallest sizes')
    add_save_option(parser)
    args = parser.parse_args()
    needs_device(parser, args.device)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.save or Path(temporary)
        lines = {name: line for name in BENCHMARKS if not args.only or name.split()[0] in args.only
                 if (line := command(name, args, folder))}
        if not lines:
            parser.error(f'{" and ".join(args.only)}: not for --device {args.device}')
        failed, older = [], files(folder)
        for name, line in lines.items():
            print(f'\n== {name} ==', flush=True)
            start = time.monotonic()
            try:
                if subprocess.run(line, env=dict(os.environ, PYTHONUNBUFFERED='1')).returncode:
                    failed.append(name)
            except KeyboardInterrupt:
                sys.exit(f'\nStopped: interrupted in {name}. Tables so far: {args.save or "above"}.')
            print(f'({time.monotonic() - start:.0f} s)', flush=True)
            if args.save:
                (folder / 'summary.md').write_text(page(folder, args.device, older))
    if failed:
        sys.exit(f'\nStopped: these benchmarks failed, see above: {", ".join(failed)}.')
    if args.save:
        print(f'\nAll tables: {args.save / "summary.md"}')


if __name__ == '__main__':
    main()
