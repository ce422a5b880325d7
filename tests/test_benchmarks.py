import sys
from types import SimpleNamespace

import pytest
import torch

from benchmarks import networks, operator, options, precision, robustness
from benchmarks.textbook import eigh_vector, isqrt_cov_vector
from mmgcp.ops import triu_vector

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


def test_operator(monkeypatch, capsys):
    monkeypatch.setattr(operator, 'SIZES', [(32, 3), (16, 5)])
    rows = run(operator, monkeypatch, capsys, '--batch', '2', '--repeats', '1', '--methods')
    main = {row[0]: row for row in rows if len(row) == 11}
    for size in ('32 x 3 x 3', '16 x 5 x 5'):
        assert float(main[size][9]) < 2e-6 and float(main[size][10]) < 5e-6
        assert float(main[size][6]) < float(main[size][7])
    assert [row[0] for row in rows if len(row) == 6].count('newton_schulz') == 2


def test_networks(monkeypatch, capsys):
    rows = run(networks, monkeypatch, capsys, '--batch', '2', '--size', '32', '--repeats', '1', '--networks',
               'resnet18')
    assert [row[1] for row in rows if len(row) == 5][2:] == ['GAP', 'GCP_D', 'GCP_M', 'GCP w/o DS']
    assert [row[2] for row in rows if len(row) == 8][2:] == ['512 x 1 x 1', '512 x 1 x 1', '512 x 2 x 2']


def test_options(monkeypatch, capsys):
    rows = run(options, monkeypatch, capsys, '--config', 'configs/quickstart/resnet18_gcp_m_shapes.py', '--batch', '8',
               '--size', '32', '--repeats', '1')[2:]
    assert [row[0] for row in rows] == ['plain', 'channels_last', 'ema', 'accumulation', 'bfloat16']
    assert rows[0][2] == rows[0][4] == '1.000' and all(float(row[2]) > 0 for row in rows)


@pytest.mark.parametrize('option', list(options.CPU_WRAPPERS)[:-1])
def test_a_step_of_an_option_trains_like_a_plain_one(option):
    args = SimpleNamespace(config='configs/quickstart/resnet18_gcp_m_shapes.py', batch=8, size=32,
                           device=torch.device('cpu'))
    plain, step = options.steps(['plain', option], args)
    before = plain.model.head.fc.weight.clone()
    images, samples = plain.batches[0].values()
    size = len(images) // len(step.batches)
    step.batches = [dict(inputs=images[i:i + size], data_samples=samples[i:i + size]) for i in range(0, 8, size)]
    plain(), step()
    update, expected = step.model.head.fc.weight - before, plain.model.head.fc.weight - before
    # bfloat16 has 8 bits; parts of a batch have batch statistics of their own.
    tolerance = dict(bfloat16=0.1, accumulation=0.9).get(option, 1e-4)
    assert (update - expected).norm() < tolerance * expected.norm()


def test_rounding_of_operands():
    x = torch.randn(1000) * 10.**torch.randint(-9, 9, (1000, ))
    assert torch.equal(precision.rounded(x, 7), x.bfloat16().float())
    assert precision.rounded(torch.tensor([1 + 2**-10, 1 + 2**-11, 1 + 3 * 2**-11]), 10).tolist() == [
        1 + 2**-10, 1, 1 + 2**-9]  # TF32, ties to even


def test_precision(monkeypatch, capsys):
    monkeypatch.setattr(precision, 'SIZES', [(32, 4)])
    monkeypatch.setattr(sys, 'argv', ['precision', '--batch', '2'])
    precision.main()
    lines = capsys.readouterr().out.splitlines()[2:]
    errors = [float(line.strip('|').split('|')[2]) for line in lines]
    assert errors[0] < 2e-6 < 1e-5 < errors[1] < errors[2] < 0.1


def test_robustness(monkeypatch, capsys):
    monkeypatch.setattr(robustness, 'CORRUPTIONS', ('fog', ))
    rows = run(robustness, monkeypatch, capsys, '--images', '12', '--size', '32', '--workers', '0', '--repeats', '1')
    speeds = {row[0]: row[1:] for row in rows if len(row) == 3}
    assert float(speeds['set by set'][0]) / float(speeds['plain'][0]) == pytest.approx(
        float(speeds['set by set'][1]), abs=0.01)
    costs = {row[0]: float(row[3]) for row in rows if len(row) == 4 and row[3].isdigit()}
    assert {'fog', 'saturate', 'tilt'} < set(costs) and min(costs.values()) > 0
