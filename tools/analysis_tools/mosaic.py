"""Arrange the first images of a folder, such as drawn detections, in a grid."""
import argparse
from pathlib import Path

from mmgcp.analysis.mosaic import mosaic
from mmgcp.utils.arguments import at_least
from mmgcp.utils.errors import SetupError
from mmgcp.utils.reported import reported


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('folder', type=Path, help='folder of PNG or JPEG images')
    parser.add_argument('out', help='image to write')
    parser.add_argument('--number', type=at_least(1), default=12, help='number of images, in the order of their names')
    parser.add_argument('--columns', type=at_least(1), default=3, help='images per row')
    args = parser.parse_args()
    paths = sorted(path for path in args.folder.glob('[!.]*') if path.suffix.lower() in ('.png', '.jpg', '.jpeg'))
    with reported(OSError):
        if not paths:
            raise SetupError(f'{args.folder} holds no PNG or JPEG images')
        mosaic(paths[:args.number], args.columns).save(args.out)
    print(args.out)


if __name__ == '__main__':
    main()
