from mmgcp.experiments.results import as_run, last_validations, mean_and_spread, read_logs


def test_logs_are_read_by_training_and_seed(plan, results):
    (results / 'small/resnet18_gap_lr-adju/seed_1.jsonl').unlink()
    logs = read_logs(plan, results)
    assert {name: list(by_seed) for name, by_seed in logs.items()} == {
        'resnet18_gap_lr-norm': [0, 1], 'resnet18_gap_lr-adju': [0], 'resnet18_gcp_m_lr-adju': [0, 1],
        'resnet18_gcp_m_lr-adju_64-px': [0], 'mask_rcnn_r18_gap': [0, 1]}
    assert read_logs(plan, results / 'elsewhere') == {}


def test_table_of_last_validations(plan, results):
    runs = {name: {seed: as_run(log, name) for seed, log in logs.items()}
            for name, logs in read_logs(plan, results).items()}
    (header, rows), detectors = last_validations(runs)
    assert header == ['training', 'seeds', 'accuracy/top1', 'accuracy/top5']
    assert rows[0] == ['resnet18_gap_lr-norm', '2', '70.500 ± 0.707', '95.000 ± 0.000']
    assert rows[3] == ['resnet18_gcp_m_lr-adju_64-px', '1', '71.000', '95.000']
    assert detectors == (['training', 'seeds', 'coco/bbox_mAP', 'coco/segm_mAP'],
                         [['mask_rcnn_r18_gap', '2', '0.200 ± 0.000', '0.190 ± 0.000']])


def test_mean_and_spread():
    assert [mean_and_spread(values) for values in ([1.], [1., 2.])] == ['1.0', '1.5 ± 0.7']
