"""Export a trained classifier as ONNX (.onnx), torch.export (.pt2) or TorchScript (.pt), and compare the scores."""
import argparse

from mmgcp.apis.complexity import image_size
from mmgcp.apis.export import BATCHES, FORMATS, export_classifier
from mmgcp.apis.launch import load_config
from mmgcp.apis.trained import trained_model
from mmgcp.utils.arguments import Options
from mmgcp.utils.checkpoint import classes_of
from mmgcp.utils.reported import reported


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of a classifier')
    parser.add_argument('checkpoint', help='checkpoint file, URL or workdir://NAME_OF_CONFIG')
    parser.add_argument('--out', required=True, metavar='FILE', help=f'file to write: {", ".join(FORMATS)}')
    parser.add_argument('--cfg-options', nargs='+', action=Options, default={}, help='config settings to override')
    args = parser.parse_args()
    with reported(OSError):
        cfg = load_config(args.config, cfg_options=args.cfg_options)
        model, meta = trained_model(cfg, args.checkpoint)
        size = image_size(cfg)
        difference = export_classifier(model, args.out, size, classes_of(dict(meta=meta)))
    print(f'{args.out} is written, for images of {size[0]} x {size[1]} pixels. The scores of random images, in batches '
          f'of {", ".join(map(str, BATCHES))}, differ from those of the network by at most {difference:.1e}')


if __name__ == '__main__':
    main()
