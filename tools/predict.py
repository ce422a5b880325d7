"""Classify pictures and draw a class-activation map, or detect objects and draw their boxes and masks.

Example:
    python tools/predict.py cat.jpg configs/gcp/resnet50_gcp_m_imagenet.py workdir://resnet50_gcp_m_imagenet
"""
import argparse

from mmengine.logging import MMLogger

from mmgcp.apis.launch import load_config
from mmgcp.apis.prediction import Predictor, pictures_to_write
from mmgcp.utils.arguments import Options
from mmgcp.utils.reported import reported


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('images', nargs='+', metavar='IMAGE', help='image files')
    parser.add_argument('config', help='config of a classifier or a detector')
    parser.add_argument('checkpoint', help='checkpoint file, URL or workdir://NAME_OF_CONFIG')
    parser.add_argument('--out', default='predictions', metavar='FILE.png|FOLDER',
                        help='picture to write, for one image, or folder for NAME_OF_IMAGE.png (default: %(default)s)')
    parser.add_argument('--threshold', type=float, default=0.3,
                        help='minimum score of the objects shown (default: %(default)s)')
    parser.add_argument('--cfg-options', nargs='+', action=Options, default={}, help='config settings to override')
    args = parser.parse_args()
    MMLogger.get_current_instance().setLevel('WARNING')
    with reported(OSError):
        pictures = pictures_to_write(args.images, args.out)
        cfg = load_config(args.config, cfg_options=args.cfg_options)
        predictor = Predictor(cfg, args.checkpoint, args.threshold)
        for image, picture in zip(args.images, pictures, strict=True):
            print(image, *predictor.predict(image, picture), f'drawn in {picture}', sep='\n')


if __name__ == '__main__':
    main()
