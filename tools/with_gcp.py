"""Write a config that inherits from that of any classifier and pools by covariance."""
import argparse

from mmengine.logging import MMLogger

from mmgcp.apis.complexity import complexity
from mmgcp.apis.launch import load_config
from mmgcp.apis.with_gcp import find_config, with_gcp, write_config
from mmgcp.ops import METHODS
from mmgcp.utils.arguments import at_least
from mmgcp.utils.reported import reported


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='a path, mmpretrain::NAME or mmgcp::NAME')
    parser.add_argument('--out', required=True, metavar='CONFIG.py', help='config to write')
    parser.add_argument('--method', default='newton_schulz', choices=list(METHODS),
                        help='normalisation of the covariance (default: %(default)s)')
    parser.add_argument('--channels', type=at_least(1),
                        help='channels whose covariance is taken (default: 256, or all if there are fewer)')
    parser.add_argument('--keep-class-token', action='store_true',
                        help='classify the class token beside the covariance of the other tokens')
    args = parser.parse_args()
    MMLogger.get_instance('mmengine', log_level='WARNING')  # building networks logs a few lines
    with reported():
        base, path = find_config(args.config)
        cfg = load_config(str(path))
        network = with_gcp(cfg, args.method, args.channels, args.keep_class_token)
        write_config(base, network.changes, args.out)
    print(*network.findings, sep='\n')
    try:
        before, after = complexity(cfg), complexity(network.cfg)
    except Exception as error:  # an operation that cannot be traced
        print(f'Parameters and FLOPs cannot be counted: {type(error).__name__}: {error}')
    else:
        print(f'Parameters: {before.parameters / 1e6:.2f} to {after.parameters / 1e6:.2f} million; '
              f'FLOPs of an image: {before.flops / 1e9:.2f} to {after.flops / 1e9:.2f} billion')
    print(f'{args.out} is written: python -m mmgcp train {args.out}')


if __name__ == '__main__':
    main()
