"""Write the backbone of a checkpoint with torchvision's tensor names."""
import argparse
from pathlib import Path

from mmgcp.utils.checkpoint import load_checkpoint, save_checkpoint
from mmgcp.utils.reported import reported
from mmgcp.zoo.publish import torchvision_backbone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='checkpoint of a classifier or detector, or a published backbone: file or '
                                           'workdir://NAME_OF_CONFIG')
    parser.add_argument('out', type=Path, help='state dict to write')
    args = parser.parse_args()
    with reported():
        state_dict, network = torchvision_backbone(load_checkpoint(args.checkpoint), args.checkpoint)
        save_checkpoint(state_dict, args.out)
    print(f'Written: {args.out}')
    print(f"Load it with: torchvision.models.{network}().load_state_dict(torch.load('{args.out}'), strict=False)")


if __name__ == '__main__':
    main()
