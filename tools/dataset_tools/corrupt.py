"""Make ImageNet-C or ImageNet-P from an image folder SOURCE/CLASS/IMAGE, or COCO-C from SOURCE/IMAGE.

Existing files are skipped. JPEG and MP4 are lossy; PNG files have exactly the pixels of mmgcp.Corrupt.
"""
import argparse
import os

from mmgcp.datasets.corrupt_folder import make_folder
from mmgcp.datasets.recipe import FORMATS, CorruptedSet, PerturbedSet, Recipe
from mmgcp.robustness.corruptions import CORRUPTIONS, EXTRA_CORRUPTIONS, SEVERITIES
from mmgcp.robustness.perturbations import DIFFICULTIES, PERTURBATIONS
from mmgcp.utils.reported import reported


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('source', help='folder with one folder of images per class; of COCO-C, with the images')
    parser.add_argument('out', help='folder to write')
    parser.add_argument('--benchmark', choices=tuple(FORMATS), default='imagenet-c', help='benchmark to make')
    parser.add_argument('--resize', type=int, default=256, help='short side to resize to; 0 skips resizing')
    parser.add_argument('--backend', choices=('pillow', 'cv2'), default='pillow',
                        help='backend for resizing, as in ResizeEdge of the test pipeline')
    parser.add_argument('--crop', type=int, default=224, help='side of the centre crop; 0 skips cropping')
    parser.add_argument('--format', choices=FORMATS['imagenet-p'], default='jpeg',
                        help='format of images and frames; mp4 gives one lossy video per sequence')
    parser.add_argument('--quality', type=int, default=85,
                        help='JPEG quality; 85 is that of ImageNet-C')
    parser.add_argument('--seed', type=int, default=0, help='random seed')
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='number of processes; 0 uses this one')
    parser.add_argument('--skip-unreadable', action='store_true', help='leave out images that cannot be read')
    group = parser.add_argument_group('ImageNet-C and COCO-C')
    group.add_argument('--corruptions', nargs='+', default=CORRUPTIONS, metavar='NAME')
    group.add_argument('--extra', action='store_true', help=f"also {', '.join(EXTRA_CORRUPTIONS)}")
    group.add_argument('--severities', nargs='+', type=int, choices=SEVERITIES, default=SEVERITIES, metavar='N')
    group = parser.add_argument_group('ImageNet-P')
    group.add_argument('--perturbations', nargs='+', default=PERTURBATIONS, metavar='NAME')
    group.add_argument('--difficulty', type=int, choices=DIFFICULTIES, default=1, help='strength of noise')
    group.add_argument('--frames', type=int, help='length of a sequence; as published, 41 of translate and else 31, '
                       'if not given')
    args = parser.parse_args()
    unused = {'imagenet-c': ('perturbations', 'difficulty', 'frames'),
              'imagenet-p': ('corruptions', 'extra', 'severities'),
              'coco-c': ('perturbations', 'difficulty', 'frames', 'resize', 'crop')}
    for name in unused[args.benchmark]:
        if getattr(args, name) != parser.get_default(name):
            parser.error(f'--{name} does not belong to {args.benchmark}')
    if args.benchmark == 'coco-c':
        args.resize = args.crop = 0
    if args.workers < 0:
        parser.error(f'--workers {args.workers} must be at least 0')
    return args


def sets_to_make(args: argparse.Namespace) -> list[CorruptedSet] | list[PerturbedSet]:
    """List the sets of the benchmark that the arguments select."""
    if args.benchmark == 'imagenet-p':
        return [PerturbedSet(name, args.difficulty) for name in dict.fromkeys(args.perturbations)]
    names = dict.fromkeys([*args.corruptions, *(EXTRA_CORRUPTIONS if args.extra else ())])
    return [CorruptedSet(name, severity) for name in names for severity in sorted(set(args.severities))]


def main() -> None:
    args = parse_args()
    with reported(OSError):
        recipe = Recipe(args.source, args.benchmark, args.resize, args.backend, args.crop, args.format, args.quality,
                        args.frames, args.seed)
        report = make_folder(args.out, recipe, sets_to_make(args), args.workers, args.skip_unreadable)
    print(f'{report.written} written, {report.present} existed.')


if __name__ == '__main__':
    main()
