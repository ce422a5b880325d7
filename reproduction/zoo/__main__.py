"""Update the metafiles and tables of the model zoo from the configs, or check that they are up to date."""
import argparse
from pathlib import Path

from mmgcp.utils.reported import reported

from .index import check, update

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(prog='python -m reproduction.zoo', description=__doc__)
    parser.add_argument('--check', action='store_true', help='change nothing; fail if something is out of date')
    args = parser.parse_args()
    with reported(ImportError):  # timm is optional
        if args.check:
            check(ROOT)
            print('The model zoo is up to date.')
        else:
            changes = update(ROOT)
            print(*changes, f'{len(changes)} changes.', sep='\n')


if __name__ == '__main__':
    main()
