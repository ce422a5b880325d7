"""Generate a small data set of textured shapes in ImageNet layout and in COCO layout.

Example:
    python tools/dataset_tools/make_shapes.py --out data/shapes --preview shapes.png
"""

import argparse

import shapes
from mmgcp.utils.reported import reported


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Generate a small data set of textured shapes.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    imagenet, coco = shapes.IMAGENET_SETTINGS, shapes.COCO_SETTINGS
    parser.add_argument('--out', default='data/shapes', help='parent folder of imagenet/ and coco/')
    parser.add_argument(
        '--layout', nargs='+', choices=('imagenet', 'coco'), default=('imagenet', 'coco'), help='layouts to make'
    )
    parser.add_argument('--seed', type=int, default=0, help='random seed')
    parser.add_argument('--overwrite', action='store_true', help='replace sets made by this tool')
    parser.add_argument('--preview', metavar='FILE.png', help='also write a sheet with some images of each class')
    group = parser.add_argument_group('ImageNet layout')
    group.add_argument('--image-size', type=int, default=imagenet.image_size, help='side in pixels')
    group.add_argument('--train-per-class', type=int, default=imagenet.train, help='training images per class')
    group.add_argument('--val-per-class', type=int, default=imagenet.val, help='validation images per class')
    group = parser.add_argument_group('COCO layout')
    group.add_argument('--det-image-size', type=int, default=coco.image_size, help='side in pixels')
    group.add_argument('--det-train', type=int, default=coco.train, help='training images in total')
    group.add_argument('--det-val', type=int, default=coco.val, help='validation images in total')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    classes = len(shapes.CLASSES)
    # Check all settings before drawing.
    imagenet = shapes.ShapeSettings(args.image_size, args.train_per_class, args.val_per_class, args.seed)
    coco = shapes.ShapeSettings(args.det_image_size, args.det_train, args.det_val, args.seed)
    if 'imagenet' in args.layout:
        folder = shapes.make_imagenet(args.out, imagenet, args.overwrite)
        print(f'{folder}: {imagenet.train * classes} training and {imagenet.val * classes} validation images')
    if 'coco' in args.layout:
        folder = shapes.make_coco(args.out, coco, args.overwrite)
        print(f'{folder}: {coco.train} training and {coco.val} validation images')
    if args.preview:
        shapes.contact_sheet(args.image_size, args.seed).save(args.preview)
        print(f'{args.preview}: some images of each class')
    print(f'{classes} classes: {", ".join(shapes.CLASSES)}')


if __name__ == '__main__':
    with reported(ValueError, OSError):
        main()
