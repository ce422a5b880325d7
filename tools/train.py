"""Train a classifier or a detector from a config."""
from mmgcp.apis.launch import build_runner, load_config, scale_lr, train, use_amp
from mmgcp.utils.arguments import common_parser
from mmgcp.utils.reported import reported


def main() -> None:
    parser = common_parser(__doc__)
    parser.add_argument('--resume', nargs='?', const='auto',
                        help='resume from this checkpoint, or by default from the last one in the work dir')
    parser.add_argument('--amp', action='store_true', help='train in mixed precision (needs a GPU)')
    parser.add_argument('--no-validate', action='store_true', help='do not evaluate while training')
    parser.add_argument('--auto-scale-lr', action='store_true',
                        help='scale the learning rate linearly with the batch size')
    args = parser.parse_args()
    if args.resume == '':
        parser.error('--resume got an empty name: name a checkpoint, or nothing for the last one in the work dir')
    with reported():
        cfg = load_config(args.config, args.work_dir, args.cfg_options, args.launcher, args.local_rank)
        if args.no_validate:
            cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        if args.amp:
            use_amp(cfg)
        if args.auto_scale_lr:
            scale_lr(cfg)
        if args.resume:
            cfg.resume = 'auto' if args.resume == 'auto' else True
            cfg.load_from = cfg.get('load_from') if args.resume == 'auto' else args.resume
        train(build_runner(cfg, ['train', 'val'], whole_model=False))


if __name__ == '__main__':
    main()
