"""What the plans on Imagenette have in common: networks, schedules and measurements by name."""
from collections.abc import Mapping, Sequence

from mmgcp.experiments import Measurement

from .paper_plan import PaperTraining, Variant

TEST_IMAGES = 3925
# LR_adju of ResNets in fewer epochs still, for the many variations.
SHORT = {'train_cfg.max_epochs': 2, 'param_scheduler.final_epoch': 1 + 2 * 49 / 50}
SEEDS = (0, 1, 2)
CHANNELS = {'resnet18': 512, 'resnet50': 2048}  # of the last map
# Factors of the classifier's learning rate that were the best in plans/imagenette_methods_tuning.py, where not 1;
# dropcov learned little with any.
TUNED = {'gap': 0.1, 'covariance': 0.1, 'log': 0.001, 'signed_power': 100, 'compact_bilinear': 100}
NUMBERS = {'gaussian': 257 * 258 // 2, 'compact_bilinear': 8192}  # of representations unlike the covariance
LR = 'optim_wrapper.optimizer.lr'
CLASSIFIER_LR = 'optim_wrapper.paramwise_cfg.custom_keys.head.lr_mult'
CONV5 = {'gap': 'stride', 'gap_wo-ds': 'none', 'gcp': 'none', 'gcp_d': 'stride', 'gcp_m': 'max_pool'}
SHAPES = 'data/forms/coco/'  # other numbers of images than the quick start's in data/shapes
# Options for where the shapes lie, which are drawn alike in any folder.
WHERE = ('*_dataloader.dataset.data_root', '*_evaluator.ann_file')
# They leave a training as it is, bit for bit.
WATCHING = ('default_hooks.landscape*', 'default_hooks.checkpoint.max_keep_ckpts')
COMMON = {
    'optim_wrapper.type': 'mmgcp.BFloat16OptimWrapper',
    'default_hooks.logger.interval': 20,
    'default_hooks.checkpoint.max_keep_ckpts': 1,
    'default_hooks.checkpoint.save_best': None,
}


def size(pixels: int) -> dict:
    """Settings of an input size; the test images are cut from a seventh more, as at 224 px."""
    return {
        'train_dataloader.dataset.pipeline.1.scale': pixels,
        **{f'{split}_dataloader.dataset.pipeline.{key}': value for split in ('val', 'test')
           for key, value in (('1.scale', round(pixels * 8 / 7)), ('2.crop_size', pixels))},
    }


def landscapes(step_range: Sequence[float], interval: int) -> dict:
    """Settings that measure the landscape at three places while training, and keep checkpoints for the curvature.

    Args:
        step_range (Sequence[float]): Step sizes along the gradient of the features of stem and last convolution.
        interval (int): Iterations between measurements.
    """

    def at(place, **settings):
        return {f'default_hooks.landscape_{place}.{key}': value for key, value in dict(
            type='mmgcp.LandscapeHook', at=place, interval=interval, **settings).items()}

    return {
        **at('stem', step_range=step_range, num_steps=10), **at('last_conv', step_range=step_range, num_steps=10),
        # Half to four times ResNets' initial learning rate, down the gradient, as in Santurkar et al. (NeurIPS 2018).
        **at('weights', step_range=[0.025, 0.2], num_steps=8, direction='descent'),
        'default_hooks.checkpoint.max_keep_ckpts': -1,
    }


def training(network: str, pooling: str, schedule: str, variation: str = '', options: Mapping = (),
             split: bool = False, **settings) -> PaperTraining:
    """A classifier with one pooling and learning rate; a variation changes one more thing.

    Args:
        network (str): ``'resnet18'``, ``'resnet50'`` or ``'mobilenetv2'``.
        pooling (str): ``'gap'``, ``'gap_wo-ds'``, ``'gcp'``, ``'gcp_d'`` or ``'gcp_m'``.
        schedule (str): ``'norm'``, ``'fast'``, ``'adju'``, or ``'short'``, LR_adju in two epochs.
        variation (str): What the options change, for the name; ``'augmix'`` has configs of its own.
        options (Mapping): Settings that change it.
        split (bool): Train on nine tenths of the training photos and validate on the last, for tuning.
        **settings: Further attributes of :class:`~mmgcp.experiments.Training`.
    """
    kind = 'gap' if pooling.startswith('gap') else 'gcp' if network == 'mobilenetv2' else 'gcp_m'
    own, lr = 'norm' if kind == 'gap' else 'adju', 'adju' if schedule == 'short' else schedule
    augmented = '_augmix' if variation == 'augmix' else ''
    ending = f"{'' if lr == own else f'_lr-{lr}'}{augmented}{'_split' if split else ''}"
    config = f'imagenette/{network}_{kind}_imagenette{ending}.py'
    overrides = dict(SHORT) if schedule == 'short' else {}
    if pooling != kind:
        overrides |= {'model.backbone.type': 'mmgcp.GCPResNet', 'model.backbone.conv5_downsample': CONV5[pooling]}
    return PaperTraining(network=network, variant=Variant(pooling, schedule, variation), config=config,
                         options={**overrides, **dict(options)}, **settings)


def detector(pooling: str, options: Mapping = (), **settings) -> PaperTraining:
    """Mask R-CNN on the drawn shapes in :data:`SHAPES`, from the ResNet-18 with the same pooling under LR_adju.

    Args:
        pooling (str): ``'gap'``, ``'gcp_d'`` or ``'gcp_m'``.
        options (Mapping): Further settings.
        **settings: Further attributes of :class:`~mmgcp.experiments.Training`.
    """
    options = {
        'model.backbone.conv5_downsample': CONV5[pooling],
        **{f'{split}_dataloader.dataset.data_root': SHAPES for split in ('train', 'val', 'test')},
        **{f'{split}_evaluator.ann_file': f'{SHAPES}annotations/forms_val2017.json' for split in ('val', 'test')},
        **dict(options),
    }
    return PaperTraining(network='mask_rcnn_r18', variant=Variant(pooling), options=options, shared=False,
                         config='imagenette/mask_rcnn_r18_gcp_m_forms.py',
                         starts_from=Variant(pooling, 'adju').name('resnet18'), **settings)


def method(name: str, classifier_lr: float = 1, network: str = 'resnet18', split: bool = False,
           seeds: Sequence[int] = (0, )) -> PaperTraining:
    """GCP_M in two epochs with another normalisation, or another learning rate of the classifier.

    Args:
        name (str): A method of :class:`~mmgcp.ops.CovariancePooling`, or ``'gap'`` for average pooling.
        classifier_lr (float): Learning rate of the classifier, as a factor of that of the other layers.
        network (str): As in :func:`training`.
        split (bool): As in :func:`training`.
        seeds (Sequence[int]): Seeds.
    """
    options, changes = {}, []
    if name not in ('gap', 'newton_schulz'):
        options['model.neck.method'] = name
        changes.append(name)
        if name in NUMBERS:
            options['model.head.in_channels'] = NUMBERS[name]
    if classifier_lr != 1:
        options[CLASSIFIER_LR] = classifier_lr
        changes.append(f'classifier-lr-{classifier_lr:g}')
    return training(network, 'gap' if name == 'gap' else 'gcp_m', 'short', '-with-'.join(changes), options, split,
                    seeds=seeds)


def variations(network: str, seeds: Sequence[int] = ()) -> list[PaperTraining]:
    """GCP_M in two epochs, and with one thing changed: normalisation, dimension, iterations, and so on.

    GAP, small representations and methods with a rate of their own have three seeds, the others one.

    Args:
        network (str): As in :func:`training`.
        seeds (Sequence[int]): Seeds of GCP_M, also with 128 channels; empty for those of the plan.
    """

    def variant(name, options, pooling='gcp_m', seeds=(0, )):
        return training(network, pooling, 'short', name, options, seeds=seeds)

    def small(name, numbers, seeds=SEEDS, **neck):
        options = {f'model.neck.{key}': value for key, value in neck.items()}
        return variant(name, {**options, 'model.head.in_channels': numbers}, seeds=seeds)

    def channels(number, seeds=SEEDS):
        return small(f'{number}-channels', number * (number + 1) // 2, seeds, reduced_channels=number)

    return [
        variant('', {}, seeds=seeds), variant('', {}, 'gap', seeds=SEEDS),
        *(method(name, network=network) for name in (
            'covariance', 'eigh', 'log', 'pade', 'signed_power', 'gaussian', 'compact_bilinear', 'dropcov')),
        *(method(name, classifier_lr, network, seeds=SEEDS) for name, classifier_lr in TUNED.items()),
        channels(64), channels(128, seeds),
        small('8-heads', 2048, heads=8), small('16-heads', 1024, heads=16),
        small('moment', CHANNELS[network] + 2883, type='mmgcp.MomentPooling'),
        variant('1-iteration', {'model.neck.num_iters': 1}),
        variant('3-iterations', {'model.neck.num_iters': 3}),
        variant('10-iterations', {'model.neck.num_iters': 10}),
        method('newton_schulz', 0.1, network), method('newton_schulz', 10, network),
        variant('float32', {'optim_wrapper.type': 'OptimWrapper'}),
    ]


def sizes(network: str, pixels: Sequence[int]) -> list[PaperTraining]:
    """GCP_M and GAP in two epochs at other input sizes, one seed."""
    return [training(network, pooling, 'short', f'{number}-px', size(number), seeds=(0, ))
            for number in pixels for pooling in ('gcp_m', 'gap')]


def robustness(benchmark: str, step: int, of: Sequence[str], name: str = '', seeds: Sequence[int] = ()) -> Measurement:
    """ImageNet-C or ImageNet-P made from every ``step``-th test image, which are sorted by class.

    Its name in results is ``'robustness_c'`` or ``'robustness_p'`` unless another is given.
    """
    images = '[' + ','.join(map(str, range(0, TEST_IMAGES, step))) + ']'
    return Measurement(
        name or f'robustness_{benchmark[-1]}', 'test_robustness.py',
        ('{config}', '{checkpoint}', '--work-dirs', '{work_dir}', '--benchmark', benchmark, '--out',
         '{work_dir}/robustness.png', '--cfg-options', 'resume=False', f'test_dataloader.dataset.indices={images}'),
        keep=f'robustness/{benchmark}_*.json', of=of, seeds=seeds)


def outcomes(of: Sequence[str], seeds: Sequence[int] = (), name: str = 'outcomes') -> Measurement:
    """Which test photos are misclassified; its name starts with :data:`reproduction.metrics.OUTCOMES`."""
    return Measurement(
        name, 'test_robustness.py',
        ('{config}', '{checkpoint}', '--work-dirs', '{work_dir}', '--benchmark', 'clean', '--out',
         '{work_dir}/clean.png', '--cfg-options', 'resume=False'), keep='robustness/clean_*.json', of=of, seeds=seeds)


def curvature(of: Sequence[str], every: int = 1, seeds: Sequence[int] = ()) -> Measurement:
    """Largest eigenvalue and trace of the Hessian at every n-th checkpoint that is kept, on 32 training images."""
    return Measurement(
        'curvature', 'analysis_tools/measure_curvature.py',
        ('{config}', '--work-dirs', '{work_dir}', '--every', str(every), '--out', '{work_dir}/curvature.png',
         '--tolerance', '0.01',
         '--cfg-options', 'resume=False', 'train_dataloader.batch_size=32'), keep='curvature.json', of=of, seeds=seeds)


def gradients(of: Sequence[str], seeds: Sequence[int] = (0, )) -> Measurement:
    """The gradients of Table 1."""
    return Measurement(
        'gradients', 'analysis_tools/compare_gradients.py',
        ('{config}', '--work-dir', '{work_dir}', '--out', '{work_dir}/gradients.png', '--cfg-options',
         'resume=False'), keep='gradients.json', of=of, seeds=seeds)
