"""Test networks on corrupted or perturbed images: ImageNet-C, ImageNet-P, or COCO-C for detectors (Table 4).

Without --data-root, the test images are corrupted on the fly. Sets that were tested before are skipped: run the tool
again after an interruption, or with more networks to compare them.

Example:
    python tools/test_robustness.py configs/gcp/resnet50_gcp_m_imagenet.py workdir://resnet50_gcp_m_imagenet \
        --benchmark imagenet-c --data-root data/imagenet-c
"""
import argparse
import os
from pathlib import Path

from mmengine.config import DictAction

from mmgcp.apis.launch import load_configs
from mmgcp.apis.robustness.benchmarks import PACK, Benchmark
from mmgcp.apis.robustness.networks import check_network, default_reference, is_tested, read_result, test_network
from mmgcp.apis.robustness.report import check_reference, write_report
from mmgcp.robustness.corruptions import SEVERITIES
from mmgcp.utils.arguments import add_figure_arguments
from mmgcp.utils.reported import reported


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('networks', nargs='+', metavar='CONFIG CHECKPOINT',
                        help='pairs of a config and a checkpoint: a file, URL, workdir://NAME_OF_CONFIG, or pretrained '
                        'for the weights named in the config')
    parser.add_argument('--benchmark', required=True, choices=PACK)
    parser.add_argument('--data-root', help='folder of the corrupted images (default: corrupt the test images)')
    parser.add_argument('--corruptions', '--perturbations', nargs='+', default=(), dest='kinds', metavar='NAME',
                        help='kinds to test (default: the 15 of ImageNet-C, the 10 of ImageNet-P)')
    parser.add_argument('--severities', nargs='+', type=int, choices=SEVERITIES, default=SEVERITIES,
                        help='severities of ImageNet-C and COCO-C (default: all)')
    parser.add_argument('--difficulty', type=int, choices=(1, 2, 3), default=1,
                        help='difficulty of ImageNet-P (default: %(default)s)')
    parser.add_argument('--frames', type=int,
                        help='frames per sequence generated on the fly (default: 41 of translate, else 31)')
    parser.add_argument('--seed', type=int, default=0, help='seed of images made on the fly (default: %(default)s)')
    parser.add_argument('--partial', action='store_true', help='skip sets that are missing from the data root')
    parser.add_argument('--skip-unreadable', action='store_true', help='leave out images that cannot be decoded')
    parser.add_argument('--reference', metavar='alexnet|none|LABEL|FILE.json',
                        help='network whose errors are 100: AlexNet, a network of this run, or one of another run '
                        '(default: alexnet for files of ImageNet-C and 1,000 classes, else none: plain means)')
    parser.add_argument('--labels', nargs='+', help='names of the networks (default: names of the work dirs)')
    parser.add_argument('--work-dirs', nargs='+', metavar='WORK_DIR',
                        help='folders for measurements, one per network (default: work_dirs/NAME_OF_CONFIG)')
    parser.add_argument('--amp', action='store_true', help='test in mixed precision')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={},
                        help='settings that override all configs: test_dataloader.num_workers=8')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    add_figure_arguments(parser, 'robustness.png')
    args = parser.parse_args()
    if Path(args.out).suffix != '.png':
        parser.error(f'--out {args.out} must end in .png: vector files and tables are named after it')
    if len(args.networks) % 2:
        parser.error('networks come in pairs, CONFIG CHECKPOINT: one of them lacks its checkpoint')
    for name, values in (('--work-dirs', args.work_dirs), ('--labels', args.labels)):
        if values and len(values) != len(args.networks) // 2:
            parser.error(f'{name} names {len(values)} networks of {len(args.networks) // 2}: give one each')
    return args


def main() -> None:
    args = parse_args()
    with reported(ValueError, OSError, AssertionError):  # MMCV asserts that an image can be read
        cfgs = load_configs(args.networks[::2], args.work_dirs, args.labels, cfg_options=args.cfg_options,
                            launcher=args.launcher, local_rank=args.local_rank)
        networks = list(zip(cfgs.values(), args.networks[1::2], strict=True))
        for cfg in cfgs.values():
            cfg.test_cfg = dict(cfg.get('test_cfg') or {}, fp16=args.amp)
        benchmark = Benchmark(
            args.benchmark, args.data_root, args.kinds, args.severities, args.difficulty, args.frames, args.seed,
            'skip' if args.skip_unreadable else 'stop', args.partial)
        reference = args.reference or default_reference(list(cfgs.values()), benchmark)
        check_reference(reference, list(cfgs), benchmark)
        todo = [network for network in networks if not is_tested(*network, benchmark)]
        for network in todo:
            check_network(*network, benchmark)
        for network in todo:
            test_network(*network, benchmark)
        if os.environ.get('RANK', '0') == '0':  # without tests, there is no process group to ask for the rank
            results = [read_result(name, *network, benchmark) for name, network in zip(cfgs, networks, strict=True)]
            print(write_report(results, reference, not benchmark.whole, args.out, args.formats))


if __name__ == '__main__':
    main()
