"""Write the backbone of a checkpoint, for training detectors, to a file with its hash in the name."""
import argparse

from mmgcp.utils.reported import reported
from mmgcp.zoo.publish import publish_backbone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='checkpoint of a classifier or detector: file or workdir://NAME_OF_CONFIG')
    parser.add_argument('out', help='folder, or path of the file without suffix')
    args = parser.parse_args()
    with reported():
        published = publish_backbone(args.checkpoint, args.out)
    print(f'Written: {published.path}, {published.size_after / 1e6:.1f} MB of {published.size_before / 1e6:.1f} MB')
    if published.averaged:
        print('The checkpoint has a moving average of the weights (EMA), which was written.')
    print(f'Start a detector from it with: --cfg-options model.backbone.init_cfg.checkpoint={published.path}')


if __name__ == '__main__':
    main()
