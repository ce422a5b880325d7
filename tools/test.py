"""Evaluate a checkpoint of a classifier or a detector."""
from mmgcp.apis.checks_evaluators import metrics_of, other_evaluator
from mmgcp.apis.config_data import library_of
from mmgcp.apis.launch import build_runner, load_config
from mmgcp.utils.arguments import common_parser
from mmgcp.utils.errors import SetupError
from mmgcp.utils.reported import reported

# Names that differ between the two libraries: of the hook that draws, and of the metric that saves predictions.
DRAW = {
    'mmpretrain': ('mmpretrain.VisualizationHook', 'mmpretrain.UniversalVisualizer', 'enable', 'out_dir'),
    'mmdet': ('mmdet.DetVisualizationHook', 'mmdet.DetLocalVisualizer', 'draw', 'test_out_dir'),
}
DUMP = {'mmpretrain': 'DumpResults', 'mmdet': 'mmdet.DumpDetResults'}


def draw(cfg, folder):
    hook, visualizer, switch, folder_key = DRAW[library_of(cfg)]
    hooks = cfg.get('default_hooks') or {}
    cfg.default_hooks = {**hooks, 'visualization': {**(hooks.get('visualization') or dict(type=hook)),
                                                    switch: True, folder_key: folder}}
    cfg.visualizer = cfg.get('visualizer') or dict(type=visualizer, vis_backends=[dict(type='LocalVisBackend')])


def save(cfg, file):
    evaluator = other_evaluator(cfg, 'test')
    if evaluator:
        raise SetupError(f'--out adds a metric, which {evaluator} may not compute: leave out --out, or set '
                         'test_evaluator to a list of metrics')
    metrics = [metric for _, metric in metrics_of(cfg, 'test')]
    cfg.test_evaluator = [*metrics, dict(type=DUMP[library_of(cfg)], out_file_path=file)]


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
            draw(cfg, args.show_dir)
        if args.out:
            save(cfg, args.out)
        build_runner(cfg, ['test'], whole_model=True).test()


if __name__ == '__main__':
    main()
