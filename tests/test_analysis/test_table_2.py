"""Tests of Table 2 from work directories."""
import copy
import csv
import json

import pytest
from mmengine.config import Config

from mmgcp.analysis.table_2 import TrainedRun, table_2
from mmgcp.analysis.tables import save_table
from mmgcp.apis.trainings import read_trainings
from mmgcp.utils.configs import configs_folder
from mmgcp.utils.logs import Run

NAN = float('nan')


def training(name, values, network='ResNet-18', pooling='GCP', top5=None, **more):
    """A run of which top-5 is known too if it is given."""
    top5 = [{}] * len(values) if top5 is None else [{'accuracy/top5': value} for value in top5]
    val = tuple({'step': epoch, 'accuracy/top1': value, **other}
                for epoch, (value, other) in enumerate(zip(values, top5, strict=True), 1))
    return TrainedRun(Run(name, 'epoch', (), val), network, pooling, **{'lr': 'LR_adju', 'batch': 256, **more})


GAP = training('gap', [50, 72, 70.47], pooling='GAP', top5=[80, 99, 89.62], lr='LR_norm', batch=1024)
GCP = training('gcp', [71, 74.86], top5=[90, 91.81], planned=5)


class TestTable:

    def test_cells(self):
        header, rows = table_2([GCP, GAP, training('bad', [NAN], batch=None)], ['accuracy/top1', 'accuracy/top5'])
        assert header == ['network', 'run', 'pooling', 'lr', 'batch', 'epochs', 'matching epoch', 'top-1', 'top-5']
        assert rows == [
            ['ResNet-18', 'gcp', 'GCP', 'LR_adju', '256', '2/5', '1 (↓2)', '74.86 (↑4.39)', '91.81 (↑2.19)'],
            ['ResNet-18', 'gap', 'GAP', 'LR_norm', '1,024', '3', 'N/A', '70.47', '89.62'],
            ['ResNet-18', 'bad', 'GCP', 'LR_adju', '', '1', 'not reached', 'N/A', 'N/A'],
        ]

    def test_each_network_has_its_reference(self):
        other = [training('r50_gcp', [75, 76.17], 'ResNet-50'), training('r50_gap', [76.17], 'ResNet-50', 'GAP')]
        rows = table_2([GAP, *other, GCP], ['accuracy/top1'])[1]
        assert [row[6:] for row in rows] == [['N/A', '70.47'], ['2 (↑1)', '76.17 (±0.00)'], ['N/A', '76.17'],
                                             ['1 (↓2)', '74.86 (↑4.39)']]

    def test_chosen_reference_is_that_of_all(self):
        rows = table_2([GAP, GCP, training('m', [80], 'MobileNetV2')], ['accuracy/top1'], reference='gcp')[1]
        assert [row[6:] for row in rows] == [['not reached', '70.47 (↓4.39)'], ['N/A', '74.86'],
                                             ['1 (↓1)', '80.00 (↑5.14)']]
        with pytest.raises(ValueError, match="called 'x': choose the reference from 'gap', 'gcp'"):
            table_2([GAP, GCP], reference='x')

    def test_unknown_metrics(self):
        with pytest.raises(ValueError, match="No run measured 'top9': choose from accuracy/top1, accuracy/top5"):
            table_2([GAP, GCP], ['accuracy/top1', 'top9'])
        with pytest.raises(ValueError, match="'gap' has no metric 'mIoU'"):
            table_2([GAP, GCP], ['mIoU'])


def test_files(tmp_path):
    header, rows = ['run', 'top-1'], [['gap', '70.47'], ['gcp', '74.86 (↑4.39)']]
    save_table(header, rows, tmp_path / 'new' / 'table.csv')
    with (tmp_path / 'new' / 'table.csv').open(newline='', encoding='utf-8') as file:
        assert list(csv.reader(file)) == [header, *rows]
    save_table(header, rows, tmp_path / 'table.md')
    assert (tmp_path / 'table.md').read_text(encoding='utf-8').splitlines()[3] == '| gcp | 74.86 (↑4.39) |'
    with pytest.raises(ValueError, match=r"table\.txt' must end in \.md or \.csv"):
        save_table(header, rows, tmp_path / 'table.txt')


@pytest.fixture(scope='module')
def configs():
    """Configs by name, read once."""
    read = {}

    def config(name):
        if name not in read:
            read[name] = Config.fromfile(configs_folder() / name)
        return copy.deepcopy(read[name])

    return config


def leave(work_dir, cfg, time='20240101_120000', gpus=4, train=True):
    """What MMEngine leaves in a work directory."""
    data = work_dir / time / 'vis_data'
    data.mkdir(parents=True)
    cfg.dump(data / 'config.py')
    lines = [dict(loss=1., epoch=1, iter=10, step=10)] if train else []
    lines.append({'accuracy/top1': 50., 'step': 1 if train else 0})
    (data / 'scalars.json').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    if gpus:
        (work_dir / time / f'{time}.log').write_text(f'Runtime environment:\n    GPU number: {gpus}\n----')
    return work_dir


class TestRead:

    @pytest.mark.parametrize('name, expected', [
        ('gap/resnet18_gap_imagenet.py', ('ResNet-18', 'GAP', 'LR_norm', 256, 100)),
        ('gcp/resnet18_gcp_d_imagenet.py', ('ResNet-18', 'GCP_D', 'LR_adju', 256, 50)),
        ('gcp/resnet18_gcp_m_imagenet_lr-fast.py', ('ResNet-18', 'GCP_M', 'LR_fast', 256, 30)),
        ('gcp/mobilenetv2_gcp_imagenet.py', ('MobileNetV2', 'GCP', 'LR_adju', 192, 150)),
        ('gcp/shufflenetv2_gcp_imagenet_lr-fast.py', ('ShuffleNetV2', 'GCP', 'LR_fast', 1024, 60)),
        ('quickstart/resnet18_gcp_m_shapes.py', ('ResNet-18', 'GCP_M', 'PolynomialLR 0.04', 32, 4)),
    ])
    def test_configs_of_the_project(self, tmp_path, configs, name, expected):
        cfg = configs(name)
        gpus = 1 if 'shapes' in name else 4
        read, = read_trainings([leave(tmp_path, cfg, gpus=gpus)], ['run'])
        assert (read.network, read.pooling, read.lr, read.batch, read.planned) == expected
        assert (read.run.name, read.run.curve('accuracy/top1')[1].tolist()) == ('run', [50])

    def test_rates_of_the_release(self, tmp_path, configs):
        cfg = configs('gcp/resnet18_gcp_imagenet.py')
        cfg.param_scheduler.first_epoch = 0
        assert read_trainings([leave(tmp_path, cfg)])[0].lr == 'LR_adju (release)'

    def test_scaled_rates_and_accumulated_steps(self, tmp_path, configs):
        cfg = configs('gcp/resnet18_gcp_imagenet.py')
        cfg.auto_scale_lr.enable = True
        cfg.optim_wrapper.accumulative_counts = 2
        assert read_trainings([leave(tmp_path / 'a', cfg, gpus=8)])[0].lr == 'LR_adju'
        assert read_trainings([tmp_path / 'a'])[0].batch == 1024
        cfg.optim_wrapper.optimizer.lr = 0.05
        assert read_trainings([leave(tmp_path / 'b', cfg)])[0].lr == 'LR_adju x 0.5'

    def test_other_schedules(self, tmp_path, configs):
        cfg = configs('gcp/resnet18_gcp_imagenet.py')
        cfg.optim_wrapper.type = 'mmgcp.KFACOptimWrapper'
        assert read_trainings([leave(tmp_path / 'a', cfg)])[0].lr == 'K-FAC, LR_adju'
        cfg.param_scheduler = [dict(type='LinearLR', end=2), dict(type='CosineAnnealingLR', T_max=48, begin=2)]
        assert read_trainings([leave(tmp_path / 'b', cfg)])[0].lr == 'K-FAC, LinearLR + CosineAnnealingLR 0.1'
        cfg.param_scheduler = None
        cfg.optim_wrapper.type = 'OptimWrapper'
        assert read_trainings([leave(tmp_path / 'c', cfg)])[0].lr == 'constant 0.1'

    def test_last_start_that_trained_counts(self, tmp_path, configs):
        first, second = configs('gcp/resnet18_gcp_imagenet.py'), configs('gap/resnet18_gap_imagenet.py')
        leave(tmp_path, first, '20240101_000000', gpus=2)
        leave(tmp_path, second, '20240102_000000', gpus=4)
        leave(tmp_path, first, '20240103_000000', gpus=1, train=False)  # a test of the checkpoint
        with pytest.warns(UserWarning, match='was trained by 2, then 4 processes: the batch is that of the last start'):
            read, = read_trainings([tmp_path])
        assert (read.pooling, read.batch) == ('GAP', 256)

    @pytest.mark.parametrize('gpus, images, missing', [
        (None, 64, "'GPU number' in its log"), (4, None, 'batch_size of its train_dataloader')])
    def test_without_batch_the_cell_is_empty(self, tmp_path, configs, gpus, images, missing):
        cfg = configs('gcp/resnet18_gcp_imagenet.py')
        cfg.train_dataloader.batch_size = images
        folder = leave(tmp_path / 'run', cfg, gpus=gpus)
        with pytest.warns(UserWarning, match=f"batch of 'run' is not known: there is no {missing}"):
            assert read_trainings([folder])[0].batch is None

    def test_config_of_the_work_dir(self, tmp_path, configs):
        cfg = configs('gcp/resnet18_gcp_imagenet.py')
        (leave(tmp_path, cfg) / '20240101_120000' / 'vis_data' / 'config.py').unlink()
        with pytest.raises(ValueError, match='holds no config'):
            read_trainings([tmp_path])
        cfg.dump(tmp_path / 'mine.py')
        assert read_trainings([tmp_path])[0].lr == 'LR_adju'
