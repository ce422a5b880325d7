"""Test the robustness of networks (Table 4): clean images, ImageNet-C, -C-bar, -3DCC, -P, -A, -R, -V2, -Sketch, COCO-C.

Without --data-root, ImageNet-C, ImageNet-P and COCO-C are made from the test images on the fly. Sets that were tested
before are skipped: run the tool again after an interruption, or with more networks to compare them.

Example:
    python tools/test_robustness.py configs/gcp/resnet50_gcp_m_imagenet.py workdir://resnet50_gcp_m_imagenet \
        --benchmark imagenet-c --data-root data/imagenet-c
"""
import argparse
import copy
import os
from pathlib import Path

from mmgcp.apis.launch import load_configs
from mmgcp.apis.robustness.benchmarks import Benchmark, all_benchmarks
from mmgcp.apis.robustness.networks import (
    check_network,
    default_reference,
    is_tested,
    read_result,
    recorded_recipe,
    test_network,
)
from mmgcp.apis.robustness.report import check_reference, summarise, write_report
from mmgcp.robustness.catalogue import BENCHMARKS
from mmgcp.robustness.corruptions import SEVERITIES
from mmgcp.utils.arguments import Options, add_figure_arguments
from mmgcp.utils.reported import reported


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('networks', nargs='+', metavar='CONFIG CHECKPOINT',
                        help='pairs of a config and a checkpoint: a file, URL, workdir://NAME_OF_CONFIG, or pretrained '
                        'for the weights named in the config')
    parser.add_argument('--benchmark', required=True, choices=(*BENCHMARKS, 'all'),
                        help='benchmark, or all: every one for classifiers except clean, in one table')
    parser.add_argument('--data-root', help='folder of the images; for all benchmarks, with a subfolder named after '
                        'each (default: the test images, corrupted unless clean)')
    parser.add_argument('--corruptions', '--perturbations', nargs='+', default=(), dest='kinds', metavar='NAME',
                        help='kinds to test (default: the 15 of ImageNet-C, the 10 of ImageNet-P)')
    parser.add_argument('--severities', nargs='+', type=int, choices=SEVERITIES, default=SEVERITIES,
                        help='severities of corruptions (default: all)')
    parser.add_argument('--difficulty', type=int, choices=(1, 2, 3), default=1,
                        help='difficulty of ImageNet-P (default: %(default)s)')
    parser.add_argument('--frames', type=int,
                        help='frames per sequence generated on the fly (default: 41 of translate, else 31)')
    parser.add_argument('--seed', type=int, default=0,
                        help='seed of images made on the fly and of the subset (default: %(default)s)')
    parser.add_argument('--subset', metavar='rand:N|FILE',
                        help='test on N images drawn with the seed, or on those in a file with a CLASS/NAME per line')
    parser.add_argument('--resize-again', action='store_true',
                        help='resize and crop corrupted files as the config does with clean images')
    parser.add_argument('--partial', action='store_true', help='skip sets that are missing from the data root')
    parser.add_argument('--skip-unreadable', action='store_true', help='leave out images that cannot be decoded')
    parser.add_argument('--reference', metavar='alexnet|none|LABEL|FILE.json',
                        help='network whose errors are 100: AlexNet, a network of this run, or one of another run '
                        '(default: alexnet for files of ImageNet-C and 1,000 classes, else none: plain means)')
    parser.add_argument('--labels', nargs='+', help='names of the networks (default: names of the work dirs)')
    parser.add_argument('--work-dirs', nargs='+', metavar='WORK_DIR',
                        help='folders for measurements, one per network (default: work_dirs/NAME_OF_CONFIG)')
    parser.add_argument('--amp', action='store_true', help='test in mixed precision')
    parser.add_argument('--cfg-options', nargs='+', action=Options, default={},
                        help='settings that override all configs: test_dataloader.num_workers=8')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    add_figure_arguments(parser, 'robustness.png')
    args = parser.parse_args()
    if Path(args.out).suffix != '.png':
        parser.error(f'--out {args.out} must end in .png: vector files and tables are named after it')
    if args.benchmark == 'all' and (args.kinds or args.reference == 'alexnet' or Path(args.reference or '').suffix):
        parser.error('--benchmark all takes no names of corruptions, and as --reference none or a label')
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
        settings = dict(severities=args.severities, difficulty=args.difficulty, frames=args.frames, seed=args.seed,
                        unreadable='skip' if args.skip_unreadable else 'stop', partial=args.partial,
                        subset=args.subset, resize_again=args.resize_again)
        benchmarks = (all_benchmarks(args.data_root, **settings) if args.benchmark == 'all' else
                      [Benchmark(args.benchmark, args.data_root, args.kinds, **settings)])
        for benchmark in benchmarks:
            benchmark.known_recipe = recorded_recipe(networks, benchmark)
        references = ['none' if args.benchmark == 'all' and benchmark.form.classes else
                      args.reference or default_reference(list(cfgs.values()), benchmark) for benchmark in benchmarks]
        for benchmark, reference in zip(benchmarks, references, strict=True):
            check_reference(reference, list(cfgs), benchmark)
        todo = [(cfg, checkpoint, benchmark) for benchmark in benchmarks for cfg, checkpoint in networks
                if not is_tested(cfg, checkpoint, benchmark)]
        for job in todo:
            check_network(*job)
        for cfg, checkpoint, benchmark in todo:
            test_network(copy.deepcopy(cfg), checkpoint, benchmark)
        # Without tests there is no process group to ask for the rank.
        rank = {'pytorch': 'RANK', 'slurm': 'SLURM_PROCID', 'mpi': 'OMPI_COMM_WORLD_RANK'}.get(args.launcher)
        if rank is None or os.environ.get(rank, '0') == '0':
            groups = [summarise([read_result(name, *network, benchmark)
                                 for name, network in zip(cfgs, networks, strict=True)], reference, not benchmark.whole)
                      for benchmark, reference in zip(benchmarks, references, strict=True)]
            print(write_report(groups, args.out, args.formats))


if __name__ == '__main__':
    main()
