from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from mmgcp.experiments import read_plan
from mmgcp.experiments.jobs import jobs_of
from mmgcp.utils.configs import configs_folder
from mmgcp.utils.records import read_records
from reproduction import imagenette
from reproduction.claims import CLAIMS
from reproduction.measured import Measured
from reproduction.metrics import OUTCOMES
from tools.dataset_tools.shapes import FORMS

ROOT = configs_folder().resolve().parent
PLANS, RESULTS = sorted((ROOT / 'reproduction/plans').glob('*.py')), ROOT / 'results'


@pytest.mark.parametrize('path', [path for path in PLANS if read_plan(path).judged],
                         ids=lambda path: path.stem)
def test_plans_of_the_project(path):
    plan = read_plan(path)
    names = {training.name for training in plan.trainings}
    assert {f'resnet18_{pooling}_lr-{lr}' for pooling, lr in (
        ('gap', 'norm'), ('gap', 'adju'), ('gcp_d', 'adju'), ('gcp_m', 'adju'), ('gap_wo-ds', 'adju'))} <= names
    assert len(plan.seeds) >= 2


def test_outcomes_by_photo_are_measured_of_all_whose_accuracies_claims_compare():
    plan = read_plan(ROOT / 'reproduction/plans/imagenette_cpu.py')
    measurements = [measurement for measurement in plan.measurements if measurement.name.startswith(OUTCOMES)]
    subjects = ('accuracy', 'classifier', 'convergence', 'schedules', 'resolution', 'reduction')
    compared = {variant.name('resnet18') for claim in CLAIMS if claim.subject in subjects
                for variant in (claim.left, claim.right)}
    assert {name for measurement in measurements for name in measurement.of} == compared
    for measurement in measurements:
        assert '--benchmark clean' in ' '.join(measurement.arguments)
        assert measurement.keep == 'robustness/clean_*.json'


def test_claims_on_the_rate_of_the_classifier_compare_trainings_that_differ_from_gap_in_it_alone():
    plan = read_plan(ROOT / 'reproduction/plans/imagenette_cpu.py')
    trained = {training.name: training for training in plan.trainings}
    claims = [claim for claim in CLAIMS if claim.subject == 'classifier']
    for claim in claims:
        assert claim.left.name('resnet18') in trained and claim.right.variation == 'classifier-lr-0.1'
        tuned, plain = (trained[variant.name('resnet18')] for variant in (
            claim.right, claim.right._replace(variation='')))
        network = {key: value for key, value in plain.options.items() if not key.startswith('default_hooks.')}
        assert tuned.config == plain.config and tuned.options == {**network, imagenette.CLASSIFIER_LR: 0.1}
        assert all(key.startswith('model.') for key in network)  # the others watch
    assert [(claim.left.pooling, claim.left.schedule, claim.right.pooling, claim.right.schedule)
            for claim in claims] == [('gcp_m', 'adju', 'gap', 'norm'), ('gcp_m', 'norm', 'gap', 'norm'),
                                     ('gcp_m', 'adju', 'gap', 'adju'), ('gcp', 'adju', 'gap_wo-ds', 'adju')]


def test_detectors_of_the_plan_tell_the_forms_of_shapes_apart():
    plan = read_plan(ROOT / 'reproduction/plans/imagenette_cpu.py')
    detectors = {training.name: training for training in plan.trainings if training.network == 'mask_rcnn_r18'}
    assert {name: detector.starts_from for name, detector in detectors.items()} == {
        f'mask_rcnn_r18_{pooling}': f'resnet18_{pooling}_lr-adju' for pooling in ('gap', 'gcp_m')}
    for detector, conv5 in zip(detectors.values(), ('stride', 'max_pool'), strict=True):
        cfg = Config.fromfile(configs_folder() / detector.config)
        cfg.merge_from_dict(dict(detector.options))
        assert cfg.model.backbone.conv5_downsample == conv5
        assert cfg.model.roi_head.bbox_head.num_classes == cfg.model.roi_head.mask_head.num_classes == len(FORMS)
        for split in ('train', 'val', 'test'):
            dataset = cfg[f'{split}_dataloader'].dataset
            found = Path(dataset.data_root, dataset.ann_file)
            file = f"forms_{'train' if split == 'train' else 'val'}2017.json"
            assert found == Path(imagenette.SHAPES, 'annotations', file)
            assert dataset.metainfo.classes == list(FORMS)
            assert split == 'train' or Path(cfg[f'{split}_evaluator'].ann_file) == found


@pytest.mark.parametrize('path', sorted(RESULTS.glob('*/*/*.jsonl')), ids=lambda path: '/'.join(path.parts[-3:]))
def test_results_name_configs_and_tools_that_exist(path):
    settings = read_records(path).settings
    assert (configs_folder() / settings['identity']['config']).is_file()
    _, tool, config, *_ = settings['command'].split()
    assert (ROOT / tool).is_file() and Path(config).name == Path(settings['identity']['config']).name


@pytest.mark.parametrize('pooling', ['gap', 'gap_wo-ds', 'gcp', 'gcp_d', 'gcp_m'])
@pytest.mark.parametrize('lr', ['norm', 'fast', 'adju'])
def test_schedules_are_those_of_the_configs(pooling, lr):
    training = imagenette.training('resnet18', pooling, lr)
    assert not [key for key in training.options if key.startswith(('param_scheduler', 'train_cfg', 'optim_wrapper'))]
    cfg = Config.fromfile(configs_folder() / training.config)
    cfg.merge_from_dict(training.options)
    covariance, downsample = pooling.startswith('gcp'), cfg.model.backbone.get('conv5_downsample', 'stride')
    assert cfg.model.neck.type == ('mmgcp.GlobalCovariancePooling' if covariance else 'GlobalAveragePooling')
    assert downsample == {'gap': 'stride', 'gcp_d': 'stride', 'gcp_m': 'max_pool'}.get(pooling, 'none')
    assert downsample == 'stride' or cfg.model.backbone.type == 'mmgcp.GCPResNet'


@pytest.mark.parametrize('network', ['resnet18', 'resnet50'])
def test_variations_fit_their_classifiers(network):
    small = ('64-channels', '128-channels', '8-heads', '16-heads', 'moment')
    for training in imagenette.variations(network):
        cfg = Config.fromfile(configs_folder() / training.config)
        cfg.merge_from_dict(training.options)
        if training.variant.pooling != 'gap':
            width = MODELS.build(cfg.model.neck).out_channels
            assert width == cfg.model.head.in_channels
            assert (width < 10000) == training.variant.variation.startswith((*small, 'compact_bilinear'))
        tuned = '-with-' in training.variant.variation or training.name.endswith('gap_lr-short_classifier-lr-0.1')
        of_the_plan = training.variant.pooling == 'gcp_m' and training.variant.variation in ('', '128-channels')
        assert training.seeds == (() if of_the_plan else (0, 1, 2) if tuned or training.variant.variation in (
            '', *small) else (0, ))


def test_rates_of_normalisations_are_tuned_without_the_test_photos():
    plan = read_plan(PLANS[0].with_name('imagenette_methods_tuning.py'))
    assert not plan.judged and len({training.name for training in plan.trainings}) == len(plan.trainings)
    factors = {}
    for training in plan.trainings:
        cfg = Config.fromfile(configs_folder() / training.config)
        cfg.merge_from_dict(training.options)
        trained, held_out = (cfg[f'{split}_dataloader'].dataset for split in ('train', 'val'))
        assert trained.data_prefix == held_out.data_prefix == 'train'
        assert sorted([*trained.indices, *held_out.indices]) == list(range(9469)) and len(held_out.indices) == 947
        covariance = cfg.model.neck.type == 'mmgcp.GlobalCovariancePooling'
        name = cfg.model.neck.get('method', 'newton_schulz') if covariance else 'gap'
        rates = cfg.optim_wrapper.get('paramwise_cfg', {}).get('custom_keys', {})
        factors.setdefault(name, []).append(rates.get('head', {}).get('lr_mult', 1))
        assert rates.keys() <= {'head'} and (cfg.optim_wrapper.optimizer.lr, cfg.train_cfg.max_epochs) == (0.05, 2)
    assert all(len(some) >= 3 and some == sorted(some) for some in factors.values())
    assert all(high == pytest.approx(10 * low) for some in factors.values()
               for low, high in zip(some, some[1:], strict=False))
    for name, best in imagenette.TUNED.items():
        trained = imagenette.method(name, best, split=True)
        assert trained.name in {training.name for training in plan.trainings}
    assert factors.keys() == {
        'gap', 'newton_schulz', 'covariance', 'log', 'signed_power', 'compact_bilinear', 'dropcov'}


def test_plans_of_the_leaderboard():
    plan, tuning = (read_plan(PLANS[0].with_name(f'imagenette_leaderboard{end}.py')) for end in ('', '_tuning'))
    jobs = [job for job in jobs_of(plan) if job.measurement is None]
    assert len(jobs) == 10 * 5 + 5 * 3 and not plan.judged and not tuning.judged
    longer = next(job for job in jobs if job.training.name == 'resnet18d_gcp_m_20-epochs')
    assert longer.options['param_scheduler.begin'] == 14.4
    assert longer.options['train_cfg.max_epochs'] == 5 * longer.options['train_cfg.val_interval'] == 20
    # There is no checkpoint without the state of the optimiser to go on from.
    assert longer.options['default_hooks.checkpoint.interval'] == 20
    assert all(training.config.endswith('_split.py') for training in tuning.trainings)
    rates = {pooling: [(training.options[imagenette.LR], training.options.get(imagenette.CLASSIFIER_LR, 1))
                       for training in tuning.trainings if training.name.startswith(f'resnet18d_{pooling}')]
             for pooling in ('gap', 'gcp_m')}
    assert rates['gap'] == rates['gcp_m'] and {(0.001, 0.1), (0.001, 1), (0.001, 10), (0.016, 1)} < set(rates['gap'])
    assert not any(training.config.endswith('_split.py') for training in plan.trainings)


def test_rates_of_the_leaderboard_are_the_best_on_photos_held_out():
    plan, tuning = (read_plan(PLANS[0].with_name(f'imagenette_leaderboard{end}.py')) for end in ('', '_tuning'))
    measured = Measured(tuning, RESULTS)
    for pooling in ('gap', 'gcp_m'):
        reached = {training.name: measured.final(training.name)[0] for training in measured.trainings
                   if training.name.startswith(f'resnet18d_{pooling}_5')}
        best, = (name for name in reached if reached[name] == max(reached.values()))
        assert best in [training.name for training in plan.trainings] and best in plan.measurements[0].of


def test_there_are_plans():
    assert Path('imagenette_cpu.py') in [Path(path.name) for path in PLANS]


def test_results_of_a_cpu_and_of_a_gpu_count_alike(monkeypatch):
    jobs = []
    for there in (False, True):
        monkeypatch.setattr(torch.cuda, 'is_available', lambda there=there: there)
        jobs.append(jobs_of(read_plan(PLANS[0].with_name('imagenette_cpu.py')))[0])
    on_cpu, on_gpu = jobs
    assert on_cpu.options['randomness.deterministic'] and not on_gpu.options['randomness.deterministic']
    for job, other in (jobs, reversed(jobs)):
        assert job.is_of(dict(identity=other.identity(), inputs=other.inputs()))
        assert not job.is_of(dict(identity=replace(other, seed=1).identity()))
