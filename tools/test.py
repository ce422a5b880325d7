"""Evaluate a checkpoint of a classifier or a detector."""
from mmgcp.apis.launch import build_runner, load_config
from mmgcp.utils.arguments import common_parser
from mmgcp.utils.reported import reported

# Differences between the libraries: arguments of the hook that draws, and the metric that saves predictions.
DRAW = {'mmpretrain': ('enable', 'out_dir'), 'mmdet': ('draw', 'test_out_dir')}
DUMP = {'mmpretrain': 'DumpResults', 'mmdet': 'mmdet.DumpDetResults'}


def main() -> None:
    parser = common_parser(__doc__)
    parser.add_argument('checkpoint', help='checkpoint file, URL or workdir://NAME_OF_CONFIG')
    parser.add_argument('--out', help='pickle file for the predictions')
    parser.add_argument('--show-dir', help='folder for images with drawn predictions')
    args = parser.parse_args()
    with reported():
        cfg = load_config(args.config, args.work_dir, args.cfg_options, args.launcher, args.local_rank)
        cfg.load_from = args.checkpoint
        if args.show_dir:
            switch, folder = DRAW[cfg.default_scope]
            cfg.default_hooks.visualization.update({switch: True, folder: args.show_dir})
        if args.out:
            metrics = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
            cfg.test_evaluator = [*metrics, dict(type=DUMP[cfg.default_scope], out_file_path=args.out)]
        build_runner(cfg, ['test'], whole_model=True).test()


if __name__ == '__main__':
    main()
