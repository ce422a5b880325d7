"""Print Table 4 of the paper from the JSON files of tools/test_robustness.py, with a row per network."""
import argparse

from mmgcp.analysis.table_4 import table_4
from mmgcp.utils.reported import reported


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('files', nargs='+', metavar='FILE.json',
                        help='JSON files; networks of a file are compared with its first one')
    args = parser.parse_args()
    with reported(ValueError, OSError):
        print(table_4(args.files))


if __name__ == '__main__':
    main()
