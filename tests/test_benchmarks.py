import argparse
import csv
import inspect
import json
import re
import sys
from types import SimpleNamespace

import mmcv
import pytest
import torch

from benchmarks import all as everything
from benchmarks import (
    detection,
    fused,
    loading,
    measure,
    methods,
    networks,
    operator,
    options,
    precision,
    representations,
    robustness,
    training,
)
from benchmarks.measure import Tables, add_save_option, in_turns, interleaved_medians, ratio_in_turns
from benchmarks.textbook import eigh_vector, isqrt_cov_vector
from mmgcp.ops import METHODS, triu_vector
from reproduction.pages import fill_results

from .test_ops.reference import exact_root, isqrt_cov, value_and_gradient


@pytest.mark.parametrize('num_iters', [3, 5])
def test_textbook_recursion_equals_autograd(num_iters):
    x = torch.randn(2, 6, 4, 3, dtype=torch.float64).relu().requires_grad_()
    weight = torch.randn(2, 21, dtype=torch.float64)
    torch.testing.assert_close(value_and_gradient(lambda x: isqrt_cov_vector(x, num_iters), x, weight),
                               value_and_gradient(lambda x: triu_vector(isqrt_cov(x, num_iters)), x, weight))
    torch.testing.assert_close(eigh_vector(x), triu_vector(exact_root(x)))


def run(module, monkeypatch, capsys, *arguments):
    """Rows of the tables that a benchmark prints."""
    threads = torch.get_num_threads()
    monkeypatch.setattr(sys, 'argv', ['benchmark', '--threads', str(threads), *arguments])
    module.main()
    lines = capsys.readouterr().out.splitlines()
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines if line.startswith('|')]


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def parser():
    parser = argparse.ArgumentParser()
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--device', type=torch.device, default=torch.device('cpu'))
    parser.add_argument('--fused-sgd', action='store_true')
    parser.add_argument('--options', nargs='+')
    add_save_option(parser)
    return parser


def test_tables_are_printed_and_kept(parser, monkeypatch, capsys, tmp_path):
    folder = tmp_path / 'results' / 'benchmarks'
    arguments = ['--size', '32', '--save', str(folder), '--options', 'a b', 'c']
    monkeypatch.setattr(sys, 'argv', ['benchmark', *arguments])
    tables = Tables('letters', parser, parser.parse_args(arguments))
    tables.show('count', ['letter', 'times'], [['a', '1,000'], ['b', '2']])
    assert names(folder) == {'letters_count.csv', 'letters.json'}
    with (folder / 'letters_count.csv').open(newline='') as file:
        assert list(csv.reader(file)) == [['letter', 'times'], ['a', '1,000'], ['b', '2']]
    made = json.loads((folder / 'letters.json').read_text())
    assert made['command'] == "python -m benchmarks.letters --size 32 --options 'a b' c"
    assert made['environment']['threads'] == torch.get_num_threads()
    blocks = ''.join(f'<!-- results: {name} -->\n<!-- /results -->\n' for name in names(folder))
    page = fill_results(blocks, folder)
    assert made['command'] in page and capsys.readouterr().out.strip() in page


@pytest.mark.parametrize('arguments, name', [
    ([], 'letters'),
    (['--size', '32'], 'letters_32'),
    (['--device', 'cuda', '--fused-sgd'], 'letters_cuda_fused-sgd'),
    (['--options', 'ema', 'plain'], 'letters_ema-plain'),
])
def test_runs_with_other_settings_are_kept_apart(parser, arguments, name):
    tables = Tables('letters', parser, parser.parse_args(arguments), ['device', 'size', 'fused_sgd', 'options'])
    assert tables.name == name


def test_nothing_is_kept_unasked(parser, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Tables('letters', parser, parser.parse_args([])).show('count', ['letter'], [['a']])
    assert not names(tmp_path)


def test_operator(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(operator, 'SIZES', [(32, 3), (16, 5)])
    rows = run(operator, monkeypatch, capsys, '--batch', '2', '--repeats', '1', '--methods', '--save', str(tmp_path))
    main = {row[0]: row for row in rows if len(row) == 11}
    for size in ('32 x 3 x 3', '16 x 5 x 5'):
        assert float(main[size][9]) < 2e-6 and float(main[size][10]) < 5e-6
        assert float(main[size][6]) < float(main[size][7])
    assert [row[0] for row in rows if row[0] in METHODS] == 2 * list(METHODS)
    assert names(tmp_path) == {'operator_textbook.csv', 'operator_arithmetic.csv', 'operator_methods_time.csv',
                               'operator_methods_memory.csv', 'operator.json'}


SAME = '1.000 (1.000 to 1.000)'


def is_ordered(median_and_range):
    middle, least, most = map(float, re.fullmatch(r'(\S+) \((\S+) to (\S+)\)', median_and_range).groups())
    return 0 < least <= middle <= most


def test_methods_on_some_of_the_images(monkeypatch, capsys):
    measured = []
    monkeypatch.setattr(operator, 'SIZES', [(16, 5)])
    monkeypatch.setattr(operator, 'methods_at', lambda channels, side, args: measured.append(args.batch) or (
        [''] * len(METHODS), [''] * len(METHODS)))
    for images in (['1'], []):
        run(operator, monkeypatch, capsys, '--batch', '2', '--repeats', '1', '--methods', *images)
    assert measured == [1, 2]


def test_networks(monkeypatch, capsys, tmp_path):
    rows = run(networks, monkeypatch, capsys, '--batch', '2', '--size', '64', '--repeats', '1', '--networks',
               'resnet18', '--save', str(tmp_path))
    assert [row[1] for row in rows if len(row) == 5][2:] == ['GAP', 'GCP_D', 'GCP_M', 'GCP w/o DS']
    assert all(is_ordered(row[3]) for row in rows if len(row) == 5 and row[2][0].isdigit())
    assert [row[2] for row in rows if len(row) == 8][2:] == ['512 x 2 x 2', '512 x 2 x 2', '512 x 4 x 4']
    assert names(tmp_path) == {'networks_steps.csv', 'networks_parts.csv', 'networks.json'}


def test_methods(monkeypatch, capsys, tmp_path):
    rows = run(methods, monkeypatch, capsys, '--batch', '2', '--size', '64', '--repeats', '1', '--amp', '--save',
               str(tmp_path))[2:]
    numbers = {row[0]: row[1] for row in rows}
    assert list(numbers) == ['GAP', *METHODS, 'newton_schulz, 64 channels', 'newton_schulz, 128 channels',
                             'newton_schulz, 1 iteration', 'newton_schulz, 3 iterations',
                             'newton_schulz, 10 iterations']
    assert numbers['GAP'] == '512' and numbers['newton_schulz'] == numbers['newton_schulz, 1 iteration'] == '32,896'
    assert numbers['newton_schulz, 64 channels'] == '2,080' and numbers['compact_bilinear'] == '8,192'
    assert rows[0][3] == SAME and rows[0][5] == '1.000' and all(float(row[5]) > 0 for row in rows)
    assert all(is_ordered(row[3]) for row in rows)
    assert names(tmp_path) == {'methods_amp_64_steps.csv', 'methods_amp_64.json'}


def test_representations(monkeypatch, capsys, tmp_path):
    rows = run(representations, monkeypatch, capsys, '--batch', '2', '--size', '4', '--in-channels', '16', '--classes',
               '10', '--repeats', '1', '--save', str(tmp_path))[2:]
    assert [row[0] for row in rows] == list(representations.NECKS) and rows[0][3] == SAME
    assert [row[1] for row in rows] == ['32,896', '8,256', '4,095', '2,080', '4,096', '2,048', '1,024', '2,899', '16']
    assert rows[0][2] == f'{(16 * 256 + 2 * 256 + 32897 * 10) / 1e6:.2f}'  # reduction, BN, classifier
    assert all(is_ordered(row[3]) for row in rows)
    assert names(tmp_path) == {'representations_4_16_10_steps.csv', 'representations_4_16_10.json'}


def test_options(monkeypatch, capsys, tmp_path):
    rows = run(options, monkeypatch, capsys, '--config', 'configs/quickstart/resnet18_gcp_m_shapes.py', '--batch', '8',
               '--size', '64', '--repeats', '1', '--save', str(tmp_path))[2:]
    assert [row[0] for row in rows] == [option for option in options.CPU_WRAPPERS if option != 'compile']
    assert rows[4][5] == 'BFloat16OptimWrapper'
    assert names(tmp_path) == {'options_steps.csv', 'options.json'}
    assert rows[0][2] == SAME and rows[0][4] == '1.000' and all(is_ordered(row[2]) for row in rows)


@pytest.mark.parametrize('option', list(options.CPU_WRAPPERS)[:-1])
def test_a_step_of_an_option_trains_like_a_plain_one(option):
    args = SimpleNamespace(config='configs/quickstart/resnet18_gcp_m_shapes.py', batch=8, size=64,
                           device=torch.device('cpu'))
    plain, step = options.steps(['plain', option], args)
    before = plain.model.head.fc.weight.clone()
    images, samples = plain.batches[0].values()
    size = len(images) // len(step.batches)
    step.batches = [dict(inputs=images[i:i + size], data_samples=samples[i:i + size]) for i in range(0, 8, size)]
    plain(), step()
    update, expected = step.model.head.fc.weight - before, plain.model.head.fc.weight - before
    # bfloat16 has 8 bits; parts of two images have batch statistics of their own.
    tolerance = dict(bfloat16=0.2, accumulation=1.3).get(option, 1e-4)
    assert (update - expected).norm() < tolerance * expected.norm()
    assert 0.5 < update.norm() / expected.norm() < 2  # no step at all would be within the tolerance of accumulation
    assert torch.cosine_similarity(update.flatten(), expected.flatten(), 0) > 0.3


def test_fused_sgd_resumes_bit_by_bit():
    if 'fused' not in inspect.signature(torch.optim.SGD).parameters:
        pytest.skip('this torch has no fused SGD')

    def train(resumed):
        torch.manual_seed(0)
        model = torch.nn.Linear(30, 20)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=True)
        for step in range(6):
            if step == 3 and resumed:
                state = optimizer.state_dict()
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
                optimizer.load_state_dict(state)
            optimizer.zero_grad()
            model(torch.randn(8, 30)).square().mean().backward()
            optimizer.step()
        assert optimizer.param_groups[0]['fused']  # of the checkpoint
        return model.weight

    assert torch.equal(train(resumed=True), train(resumed=False))


def test_rounding_of_operands():
    x = torch.randn(1000) * 10.**torch.randint(-9, 9, (1000, ))
    assert torch.equal(precision.rounded(x, 7), x.bfloat16().float())
    assert precision.rounded(torch.tensor([1 + 2**-10, 1 + 2**-11, 1 + 3 * 2**-11]), 10).tolist() == [
        1 + 2**-10, 1, 1 + 2**-9]  # TF32, ties to even


def test_precision(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(precision, 'SIZES', [(32, 4)])
    monkeypatch.setattr(sys, 'argv', ['precision', '--batch', '2', '--save', str(tmp_path)])
    precision.main()
    lines = capsys.readouterr().out.strip().splitlines()[2:]
    errors = [float(line.strip('|').split('|')[2]) for line in lines]
    assert errors[0] < 2e-6 < 1e-5 < errors[1] < errors[2] < 0.1
    assert names(tmp_path) == {'precision_errors.csv', 'precision.json'}


def test_robustness(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(robustness, 'CORRUPTIONS', ('fog', ))
    rows = run(robustness, monkeypatch, capsys, '--images', '12', '--size', '32', '--workers', '0', '--repeats', '1',
               '--save', str(tmp_path))
    speeds = {row[0]: row[1:] for row in rows if len(row) == 3}
    assert float(speeds['set by set'][0]) / float(speeds['plain'][0]) == pytest.approx(
        float(speeds['set by set'][1]), abs=0.01)
    costs = {row[0]: float(row[2]) for row in rows if len(row) == 4 and row[3].isdigit()}  # milliseconds
    assert {'fog', 'saturate', 'tilt'} < set(costs) and min(costs.values()) > 0
    memory = {int(row[0]): [float(value) for value in row[1:]] for row in rows if row[0].isdigit()}
    assert list(memory) == [1, 2, 6] and all(100 < now < 1.1 * peak for now, peak in memory.values())
    assert names(tmp_path) == {'robustness_32_speed.csv', 'robustness_32_memory.csv', 'robustness_32_corruptions.csv',
                               'robustness_32.json'}


def test_ratios_are_of_times_in_the_same_turn():
    seconds = iter([9, 9, 1, 2, 2, 4, 4, 12])  # the first turn warms up, and the machine slows down
    base, other = in_turns([lambda: next(seconds)] * 2, 3)
    assert (base, other) == ([1, 2, 4], [2, 4, 12]) and ratio_in_turns(other, base) == '2.000 (2.000 to 3.000)'


def test_what_takes_long_is_timed_once():
    calls = dict(brief=0, long=0)

    def function(name, seconds):
        calls[name] += 1
        return [seconds + calls[name]]  # the first call, which warms up, does not count

    medians = interleaved_medians([lambda: function('brief', -1), lambda: function('long', 100)], 3)
    assert calls == dict(brief=4, long=2) and medians == [[2], [102]]


def test_kernels_are_compared_with_the_products_that_they_replace(monkeypatch):
    seen = []
    monkeypatch.setattr(fused.newton_schulz, 'fused_available', lambda matrix: True)
    fused.by_products(lambda: seen.append(fused.newton_schulz.fused_available(torch.zeros(1, 2, 2))))
    assert seen == [False] and fused.newton_schulz.fused_available(torch.zeros(1, 2, 2))


def test_training(monkeypatch, capsys, tmp_path):
    timed, median = [], training.statistics.median
    monkeypatch.setattr(training.statistics, 'median', lambda steps: timed.append(len(steps)) or median(steps))
    rows = run(training, monkeypatch, capsys, '--configs', 'configs/gap/resnet18_gap_imagenet.py', '--batch', '2',
               '--workers', '0', '--steps', '2', '--warm-up', '3', '--photos', '10', '--cfg-options',
               'train_dataloader.dataset.pipeline.1.scale=32', '--save', str(tmp_path))
    name, step, _, images, waiting, loader = rows[2]
    assert timed[-1] == 2  # of five steps
    assert name == 'resnet18_gap_imagenet' and 0 <= float(waiting.rstrip(' %')) < 100
    assert float(images) == pytest.approx(2000 / float(step), rel=0.5) and float(loader) > 0
    assert names(tmp_path) == {'training_throughput.csv', 'training.json'}


def test_loading(monkeypatch, capsys, tmp_path):
    rows = run(loading, monkeypatch, capsys, '--config', 'configs/gap/resnet18_gap_imagenet.py', '--photos', '8',
               '--batch', '4', '--repeats', '1', '--workers', '1', '--save', str(tmp_path))
    cells = {row[0]: row[1:] for row in rows}
    assert sum(float(cells[step][1].rstrip(' %')) for step in (
        'LoadImageFromFile', 'RandomResizedCrop', 'RandomFlip', 'PackInputs')) == pytest.approx(100, abs=3)
    assert cells['default'][1:] == [SAME, '0.00'] and cells['decoded by Pillow'][2] == '0.00'
    assert cells['decoded at half size'][2] == 'other crops' and 0.1 < float(cells['resized by OpenCV'][2]) < 5
    assert cells['as configured'][1] == SAME and set(loading.LOADERS) < set(cells)
    assert names(tmp_path) == {'loading_parts.csv', 'loading_ways.csv', 'loading_loaders.csv', 'loading.json'}
    assert mmcv.image.io.imread_backend == 'cv2'  # as before


def run_all(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['benchmarks.all', *arguments])
    everything.main()


def test_all_of_a_machine_on_one_page(monkeypatch, capfd, tmp_path):
    (tmp_path / 'of_another_machine.csv').write_text('name,value\na,1\n')
    run_all(monkeypatch, '--tiny', '--only', 'precision', 'representations', '--save', str(tmp_path))
    page = (tmp_path / 'summary.md').read_text()
    assert 'of_another_machine' not in page
    assert '## representations_4_steps' in page and '## precision_errors' in page and torch.__version__ in page
    assert '| average ' in page and str(tmp_path / 'summary.md') in capfd.readouterr().out


def test_all_keeps_what_it_has_when_interrupted(monkeypatch, tmp_path):
    run_one = everything.subprocess.run

    def run(line, **settings):
        if 'benchmarks.robustness' in line:
            raise KeyboardInterrupt
        return run_one(line, **settings)

    monkeypatch.setattr(everything.subprocess, 'run', run)
    with pytest.raises(SystemExit, match=f'interrupted in robustness. Tables so far: {tmp_path}'):
        run_all(monkeypatch, '--tiny', '--only', 'precision', 'robustness', '--save', str(tmp_path))
    assert 'precision_errors' in (tmp_path / 'summary.md').read_text()


@pytest.mark.parametrize('module, arguments', [
    (operator, []), (networks, ['--networks', 'resnet18', '--size', '64']), (methods, ['--size', '64']),
    (options, ['--size', '64'])])
def test_a_batch_that_memory_does_not_hold(module, arguments, monkeypatch, capsys):
    monkeypatch.setattr(operator, 'SIZES', [(16, 5)])
    monkeypatch.setattr(measure, 'memory', lambda device: 2**32)
    with pytest.raises(SystemExit):
        run(module, monkeypatch, capsys, '--batch', '4000000', *arguments)
    needed, most = re.search(r'--batch 4000000 takes at least (\S+) GiB, and cpu has 4.0: take (\d+) or fewer',
                             capsys.readouterr().err).groups()
    assert float(needed) / 4 == pytest.approx(4e6 / float(most), rel=0.15)  # some is for the weights


@pytest.mark.parametrize('batch, enough', [(100, True), (101, False)])
def test_memory_of_a_batch_is_that_of_few_images_continued(batch, enough, parser, monkeypatch, capsys):
    monkeypatch.setattr(measure, 'memory', lambda device: (50 + 100 * 3) * 2**30)
    monkeypatch.setattr(measure, 'saved_bytes', lambda step: (50 + 3 * step) * 2**30)
    args = argparse.Namespace(batch=batch, device=torch.device('cpu'))
    if enough:
        return measure.needs_memory(parser, args, lambda args: args.batch)
    with pytest.raises(SystemExit):
        measure.needs_memory(parser, args, lambda args: args.batch)
    assert '--batch 101 takes at least 353.0 GiB, and cpu has 350.0: take 100 or fewer' in capsys.readouterr().err


def test_detection(monkeypatch, capsys, tmp_path):
    pytest.importorskip('mmdet')
    rows = run(detection, monkeypatch, capsys, '--batch', '1', '--height', '64', '--width', '96', '--repeats', '1',
               '--save', str(tmp_path))[2:]
    assert [row[0] for row in rows] == ['GAP', 'GCP_M'] and rows[0][2] == SAME and is_ordered(rows[1][2])
    assert names(tmp_path) == {'detection_steps.csv', 'detection.json'}


def test_all_says_so_if_nothing_runs_on_the_device(monkeypatch, capsys, tmp_path):
    with pytest.raises(SystemExit):
        run_all(monkeypatch, '--only', 'fused', '--save', str(tmp_path))
    assert 'fused: not for --device cpu' in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.parametrize('images', ['0', '-5', '3'])
def test_methods_on_more_images_than_there_are(images, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(operator, monkeypatch, capsys, '--batch', '2', '--methods', images)
    assert f'--methods {images} must be between 1 and --batch 2' in capsys.readouterr().err


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
def test_a_graph_replays_what_it_captured():
    x = torch.zeros(3, device='cuda')
    graph = operator.Graph(lambda: x.add_(1))
    before = x.clone()
    assert graph() > 0 and torch.equal(x, before + 1)


def test_all_keeps_what_it_has_when_one_fails(monkeypatch, tmp_path):
    benchmarks = {'nonsense': ('', '', ''), 'precision': everything.BENCHMARKS['precision']}
    monkeypatch.setattr(everything, 'BENCHMARKS', benchmarks)
    with pytest.raises(SystemExit, match='these benchmarks failed, see above: nonsense'):
        run_all(monkeypatch, '--tiny', '--save', str(tmp_path))
    assert 'precision_errors' in (tmp_path / 'summary.md').read_text()


@pytest.mark.parametrize('module', [detection, everything, fused, methods, networks, operator, options, representations,
                                    training])
def test_a_device_that_is_not_there(module, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(sys, 'argv', ['benchmark', '--device', 'cuda'])
    with pytest.raises(SystemExit):
        module.main()
    assert f'--device cuda: no CUDA device is visible to torch {torch.__version__}' in capsys.readouterr().err
