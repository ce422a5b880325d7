"""Convert a checkpoint released by the paper's authors, and print or run the command that evaluates it."""
import argparse
from pathlib import Path

from mmgcp.apis.launch import build_runner, load_config
from mmgcp.utils.arguments import Options
from mmgcp.utils.checkpoint import load_checkpoint, save_checkpoint
from mmgcp.utils.configs import configs_folder
from mmgcp.utils.reported import reported
from mmgcp.zoo.released import convert


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('file', help='released checkpoint')
    parser.add_argument('out', type=Path, help='checkpoint to write')
    parser.add_argument('--evaluate', action='store_true', help='evaluate it in this process')
    parser.add_argument('--cfg-options', nargs='+', action=Options, default={},
                        help='with --evaluate: settings that override the config, such as data roots')
    args = parser.parse_args()
    with reported():
        checkpoint, network = convert(load_checkpoint(args.file), args.file)
        save_checkpoint(checkpoint, args.out)
        print(f'{args.file}: {network}')
        print(*[f'{key}: {value}' for key, value in checkpoint['meta']['released'].items()], sep=', ')
        print(*network.notes, f'Written: {args.out}', f'Evaluate it with: {network.test_command(args.out)}', sep='\n')
        if args.evaluate:
            cfg = load_config(str(configs_folder() / network.config),
                              cfg_options={**network.cfg_options, **args.cfg_options})
            cfg.load_from = str(args.out)
            build_runner(cfg, ['test'], whole_model=True).test()


if __name__ == '__main__':
    main()
