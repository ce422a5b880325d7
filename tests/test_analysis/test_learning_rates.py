from mmgcp.analysis.learning_rates import schedules


def test_schedules_of_table_3():
    found = schedules()
    assert list(found) == ['ResNet', 'MobileNetV2', 'ShuffleNetV2']
    assert list(found['ResNet']) == ['LR_norm', 'LR_fast', 'LR_adju', 'LR_adju_release', 'LR_fast_release']
    assert list(found['MobileNetV2']) == ['LR_norm', 'LR_fast', 'LR_adju', 'LR_adju_release']
    file, options = found['ShuffleNetV2']['LR_fast']
    assert (file.name, options) == ('shufflenetv2_lr_fast.py', {})
    file, options = found['ResNet']['LR_fast_release']
    assert (file.name, options) == ('resnet_lr_fast.py', {'param_scheduler.first_epoch': 0})
