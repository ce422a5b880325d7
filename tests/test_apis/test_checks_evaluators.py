import pytest
from mmengine.config import Config

from mmgcp.apis.checks_evaluators import check_evaluators
from mmgcp.utils.errors import SetupError


def config(metric, save_best=None, **others):
    return Config(dict(val_evaluator=metric, default_hooks=dict(checkpoint=dict(save_best=save_best)), **others))


@pytest.mark.parametrize('as_list', [False, True])
def test_topk(as_list):
    metric = dict(type='Accuracy', topk=(1, 5))
    name = 'val_evaluator.0' if as_list else 'val_evaluator'
    cfg = config([metric] if as_list else metric, model=dict(head=dict(num_classes=4)))
    with pytest.raises(SetupError, match=rf'{name}.topk=\(1, 5\) needs 5 classes .* --cfg-options {name}.topk=1'):
        check_evaluators(cfg, ['train', 'val'])
    cfg.model.head.num_classes = 5
    check_evaluators(cfg, ['train', 'val'])


def test_a_copy_of_the_annotations_will_do(tmp_path):
    for name in ('val', 'copy', 'other'):
        (tmp_path / f'{name}.json').write_text('other' if name == 'other' else 'same ')
    dataset = dict(type='CocoDataset', data_root=str(tmp_path), ann_file='val.json')
    metric = dict(type='CocoMetric', ann_file=str(tmp_path / 'copy.json'))
    check_evaluators(config(metric, val_dataloader=dict(dataset=dataset)), ['val'])
    metric['ann_file'] = str(tmp_path / 'other.json')
    with pytest.raises(SetupError, match='other.json is not the file of'):
        check_evaluators(config(metric, val_dataloader=dict(dataset=dataset)), ['val'])


def test_boxes_of_another_data_set():
    dataset = dict(type='CocoDataset', data_root='data', ann_file='val.json')
    metric = dict(type='CocoMetric', ann_file='data/../data/val.json')
    check_evaluators(config(metric, val_dataloader=dict(dataset=dataset)), ['val'])
    metric['ann_file'] = 'data/old.json'
    with pytest.raises(SetupError, match='data/old.json is not the file of .* val_evaluator.ann_file=data/val.json'):
        check_evaluators(config(metric, val_dataloader=dict(dataset=dataset)), ['val'])
    metric['backend_args'] = dict(backend='petrel')  # files elsewhere are not compared
    check_evaluators(config(metric, val_dataloader=dict(dataset=dataset)), ['val'])


@pytest.mark.parametrize('metric, right, wrong', [
    (dict(type='Accuracy', topk=(1, 5)), 'accuracy/top5', 'accuracy/topl'),
    (dict(type='CocoMetric', metric=['bbox', 'segm']), 'coco/segm_mAP', 'coco/bbox_map'),
    (dict(type='CocoMetric', metric_items=['mAP_50', 'AR@100']), 'coco/bbox_AR@100', 'coco/bbox_mAP'),
])
def test_save_best(metric, right, wrong):
    for known in (right, 'auto', None):
        check_evaluators(config(metric, known), ['val'])
    with pytest.raises(SetupError, match=rf"save_best='{wrong}' is no metric of the validation, which computes .*"):
        check_evaluators(config(metric, wrong), ['val'])
    # Results of other metrics are not known, nor how other evaluators name them.
    check_evaluators(config([metric, dict(type='VOCMetric')], wrong), ['val'])
    check_evaluators(config(dict(type='MultiDatasetsEvaluator', metrics=[metric]), f'a/{right}'), ['val'])
    for kind in (dict(), dict(type='Evaluator')):
        with pytest.raises(SetupError, match=f"save_best='a/{right}' is no metric of the validation"):
            check_evaluators(config(dict(kind, metrics=metric), f'a/{right}'), ['val'])


def test_results_that_coco_does_not_have():
    """MMDetection's metric fails on them after the first epoch."""
    metric = dict(type='mmdet.CocoMetric', metric_items=['AR@100', 'mAP50'])
    with pytest.raises(SetupError, match='^val_evaluator.metric_items has no result mAP50: the nearest name is mAP_50'):
        check_evaluators(config(metric), ['val'])


def test_metrics_that_schedules_and_hooks_follow():
    """MMEngine's schedule fails on others after the first validation, its hook does nothing."""
    def check(**settings):
        check_evaluators(config(dict(type='Accuracy'), **settings), ['train', 'val'])

    plateau, early = dict(type='ReduceOnPlateauLR'), dict(type='EarlyStoppingHook', monitor='accuracy/topl')
    for schedule, name in ((plateau, 'loss'), (dict(plateau, monitor='accuracy'), 'accuracy')):
        for setting, schedules in (('param_scheduler', schedule), ('param_scheduler.0', [schedule])):
            with pytest.raises(SetupError, match=f"{setting}.monitor='{name}' is no metric of the validation"):
                check(param_scheduler=schedules)
    with pytest.raises(SetupError, match="custom_hooks.1.monitor='accuracy/topl' is no metric of the validation"):
        check(custom_hooks=[dict(type='EMAHook'), early])
    check(param_scheduler=[dict(type='LinearLR'), dict(plateau, monitor='accuracy/top1')],
          custom_hooks=[dict(early, monitor='accuracy/top1')])


def test_interval_of_the_validation():
    for settings in (dict(val_interval=1), dict()):
        check_evaluators(Config(dict(train_cfg=settings, val_cfg=dict())), ['train', 'val'])
    check_evaluators(Config(dict(train_cfg=dict(val_interval=0), val_cfg=None)), ['train', 'val'])
    with pytest.raises(SetupError, match='train_cfg.val_interval=0 must be at least 1: .* set --no-validate'):
        check_evaluators(Config(dict(train_cfg=dict(val_interval=0), val_cfg=dict())), ['train', 'val'])


def test_topk_of_the_head():
    head = dict(num_classes=4, cal_acc=True, topk=(1, 5))
    with pytest.raises(SetupError, match=r'model.head.topk=\(1, 5\) needs 5 classes'):
        check_evaluators(Config(dict(model=dict(head=head))), ['train'])
    check_evaluators(Config(dict(model=dict(head=dict(head, cal_acc=False)))), ['train'])


def test_settings_of_checkpoints():
    known = dict(type='CheckpointHook', interval=2, save_best='auto', save_optimizer=False, priority='LOW')
    check_evaluators(Config(dict(default_hooks=dict(checkpoint=known))), ['train'])
    with pytest.raises(SetupError, match='default_hooks.checkpoint has no setting intervl'):
        check_evaluators(Config(dict(default_hooks=dict(checkpoint=dict(known, intervl=3)))), ['train'])


def test_a_test_without_labels(tmp_path):
    (tmp_path / 'dev.json').write_text('{"images": [], "categories": []}')
    coco = dict(type='CocoDataset', data_root=str(tmp_path), ann_file='dev.json')
    for dataset in (coco, dict(type='CustomDataset', data_root=str(tmp_path), with_label=False)):
        metric = dict(type='CocoMetric', ann_file='another.json')
        cfg = Config(dict(test_dataloader=dict(dataset=dataset), test_evaluator=metric))
        with pytest.raises(SetupError, match='has no labels, .* set --out FILE or --show-dir FOLDER'):
            check_evaluators(cfg, ['test'])
        for hooks in (dict(enable=True), dict(draw=True)):
            drawing = Config(dict(cfg, default_hooks=dict(visualization=hooks)))
            assert check_evaluators(drawing, ['test']) and drawing.test_evaluator == []
        cfg.test_evaluator = [metric, dict(type='DumpResults')]
        assert check_evaluators(cfg, ['test']) == ['The test set has no labels: its predictions are not measured']
        assert cfg.test_evaluator == [dict(type='DumpResults')]
    server = dict(type='CocoMetric', ann_file=str(tmp_path / 'dev.json'), format_only=True)
    assert check_evaluators(Config(dict(test_dataloader=dict(dataset=coco), test_evaluator=server)), ['test']) == []
