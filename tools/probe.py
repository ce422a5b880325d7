"""Compare probes on the features of a frozen backbone: linear, GCP, moment and attentive pooling.

The features of ROOT/train and ROOT/val are computed once. Each probe is saved with its backbone as an ordinary
classifier, NAME.py and NAME.pth, for tools/test.py and tools/test_robustness.py.

Example:
    python tools/probe.py configs/gap/resnet50_gap_imagenet.py workdir://resnet50_gap_imagenet --data data/birds
"""
import argparse
import shlex
import sys
from pathlib import Path

from mmengine.logging import MMLogger

from mmgcp.analysis.probes import plot_probes
from mmgcp.analysis.tables import markdown_table
from mmgcp.apis.launch import load_config
from mmgcp.apis.probing.run import HEADER, compare_probes
from mmgcp.apis.probing.training import PROBES
from mmgcp.experiments.environment import environment
from mmgcp.utils.arguments import Options
from mmgcp.utils.reported import reported


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of a classifier')
    parser.add_argument('checkpoint', nargs='?', help='file, URL or workdir://NAME (default: named by the config)')
    parser.add_argument('--data', required=True, metavar='ROOT', help='folder with train/CLASS and val/CLASS')
    parser.add_argument('--probes', nargs='+', choices=PROBES, default=list(PROBES), help='(default: all)')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2], help='(default: 0 1 2)')
    parser.add_argument('--lrs', nargs='+', type=float, default=[3e-4, 1e-3, 3e-3], metavar='LR',
                        help='learning rates to choose from (default: 3e-4 1e-3 3e-3)')
    parser.add_argument('--epochs', type=int, default=20, help='passes over the labelled photos (default: %(default)s)')
    parser.add_argument('--fraction', type=float, default=1, help='share of the labels to use (default: all)')
    parser.add_argument('--channels', type=int, default=64, help='reduced channels of gcp (default: %(default)s)')
    parser.add_argument('--heads', type=int, default=8, help='heads of attentive (default: %(default)s)')
    parser.add_argument('--half', action='store_true', help='keep the features in float16')
    parser.add_argument('--cache', type=Path, metavar='FOLDER', help='(default: work_dirs/NAME_OF_CONFIG/features)')
    parser.add_argument('--out', type=Path, metavar='FOLDER', help='(default: work_dirs/NAME_OF_CONFIG/probes)')
    parser.add_argument('--cfg-options', nargs='+', action=Options, default={}, help='config settings to override')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    MMLogger.get_current_instance().setLevel('WARNING')  # do not log the initialisation of each weight
    settings = {key: getattr(args, key) for key in ('half', 'seeds', 'lrs', 'epochs', 'fraction', 'channels', 'heads')}
    made = dict(command=shlex.join(['python', 'tools/probe.py', *sys.argv[1:]]), environment=environment())
    with reported(ValueError, OSError):
        cfg = load_config(args.config, cfg_options=args.cfg_options)
        cache, out = (given or Path(cfg.work_dir, name) for given, name in ((args.cache, 'features'),
                                                                           (args.out, 'probes')))
        rows, results = [], []
        for result, row in compare_probes(cfg, args.checkpoint, args.data, args.probes, cache, out, made, **settings):
            results.append(result)
            rows.append(row)
            print(f"{result.probe.name}: {row[HEADER.index('accuracy (%)')]} %", flush=True)
        print(f'\n{markdown_table(HEADER, rows)}\n')
        plot_probes({r.probe.name: (r.parameters, r.accuracies) for r in results}, out / 'probes.png')
        best = max(results, key=lambda result: result.held_out)
        saved = out / best.probe.name
        print(f'Best on held-out photos: {best.probe.name}. {best.accuracies[0]:.2f} % with seed {args.seeds[0]}: '
              f'python -m mmgcp test {saved}.py {saved}.pth')


if __name__ == '__main__':
    main()
