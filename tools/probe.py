"""Compare probes on the features of a frozen backbone: linear, GCP, moment and attentive pooling.

The features of ROOT/train and ROOT/val are computed once. Each probe is saved with its backbone as an ordinary
classifier, NAME.py and NAME.pth, for tools/test.py and tools/test_robustness.py.

Example:
    python tools/probe.py configs/gap/resnet50_gap_imagenet.py workdir://resnet50_gap_imagenet --data data/birds
"""
import argparse
import json
import shlex
import statistics
import sys
import time
from pathlib import Path

from mmengine.config import DictAction
from mmengine.logging import MMLogger

from mmgcp.analysis.probes import plot_probes
from mmgcp.analysis.tables import markdown_table, save_table
from mmgcp.apis.launch import load_config
from mmgcp.apis.probing.backbone import frozen_backbone
from mmgcp.apis.probing.cache import cached_features
from mmgcp.apis.probing.photos import photo_loaders
from mmgcp.apis.probing.saving import save_probe
from mmgcp.apis.probing.training import PROBES, compare
from mmgcp.datasets.class_folders import subfolders
from mmgcp.experiments.environment import environment
from mmgcp.utils.reported import reported

HEADER = ('probe', 'numbers', 'parameters', 'learning rate', 'held out (%)', 'accuracy (%)', 'spread', 'minutes')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of a classifier')
    parser.add_argument('checkpoint', nargs='?', help='file, URL or workdir://NAME (default: what the config names)')
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
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='settings of the config')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    MMLogger.get_current_instance().setLevel('WARNING')  # without each initialised weight of each probe
    with reported(ValueError, OSError):
        cfg = load_config(args.config, cfg_options=args.cfg_options)
        backbone = frozen_backbone(cfg, args.checkpoint)
        loaders = photo_loaders(cfg, args.data)
        classes = subfolders(Path(args.data, 'train'))
        cache, out = (given or Path(cfg.work_dir, name) for given, name in ((args.cache, 'features'),
                                                                           (args.out, 'probes')))
        features = {split: cached_features(backbone, loader['dataset'], cache / split, args.half,
                                           loader.get('batch_size', 64), loader.get('num_workers', 1))
                    for split, loader in loaders.items()}
        made = dict(command=shlex.join(['python', 'tools/probe.py', *sys.argv[1:]]), environment=environment())
        rows, results = [], {}
        for name in args.probes:
            start = time.perf_counter()
            settings = {key: getattr(args, key) for key in ('seeds', 'lrs', 'epochs', 'fraction', 'channels', 'heads')}
            result = results[name] = compare(name, *features.values(), backbone.extra_tokens, **settings)
            spread = statistics.stdev(result.accuracies) if len(result.accuracies) > 1 else 0
            rows.append([name, f"{result.probe.layers['head']['in_channels']:,}", f'{parameters(result):,}',
                         f'{result.lr:g}', f'{result.held_out:.2f}', f'{statistics.mean(result.accuracies):.2f}',
                         f'{spread:.2f}', f'{(time.perf_counter() - start) / 60:.1f}'])
            print(f'{name}: {rows[-1][5]} %', flush=True)
            save_table(HEADER, rows, out / 'probes.csv')
            (out / 'probes.json').write_text(json.dumps(made, indent=2) + '\n')
            save_probe(result.probe, backbone, cfg, loaders['val'], classes, out)
        print(f'\n{markdown_table(HEADER, rows)}\n')
        plot_probes({name: (parameters(r), r.accuracies) for name, r in results.items()}, out / 'probes.png')
        best = max(results.values(), key=lambda result: result.held_out)
        saved = out / best.probe.name
        print(f'Best on held-out photos: {best.probe.name}. {best.accuracies[0]:.2f} % with seed {args.seeds[0]}: '
              f'python -m mmgcp test {saved}.py {saved}.pth')


def parameters(result) -> int:
    return sum(parameter.numel() for parameter in result.probe.parameters())


if __name__ == '__main__':
    main()
