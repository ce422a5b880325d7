import copy
import io
import os
from functools import partial

import mmengine.dist
import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper, build_optim_wrapper
from torch import nn
from torch.utils.checkpoint import checkpoint

import mmgcp.engine.optimizers.kfac_optim_wrapper as module
from mmgcp.engine.optimizers import KFACOptimWrapper
from mmgcp.probes import kronecker
from mmgcp.utils.errors import SetupError

from ..processes import free_port, start_two


def mlp(device='cpu'):
    return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2, bias=False)).double().to(device)


def cnn(device='cpu'):
    """With all that is left to SGD: normalisation, a depthwise convolution, and in-place activations."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True),
        nn.Conv2d(4, 4, 3, groups=4), nn.ReLU(inplace=True),
        nn.Conv2d(4, 3, 2, stride=2), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(3, 2)).double().to(device)


def batches(number, shape=(8, 4), device='cpu'):
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(shape, generator=generator, dtype=torch.float64).to(device),
             torch.randint(0, 2, shape[:1], generator=generator).to(device)) for _ in range(number)]


def kfac(model, optimizer=None, **kwargs):
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.1)
    return KFACOptimWrapper(optimizer, **{'damping': 0.1, **kwargs})


def train(model, wrapper, data):
    """Model after a training step for each batch."""
    for x, y in data:
        with wrapper.optim_context(model):
            loss = F.cross_entropy(model(x), y)
        wrapper.update_params(loss)
    return model


def assert_same_weights(model, expected, **kwargs):
    for (name, actual), value in zip(model.named_parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(actual, value, msg=lambda text, name=name: f'{name}: {text}', **kwargs)


def reference(weights, data, damping, decay, factor_interval, inverse_interval, kl_clip, rates, momentum, weight_decay):
    """K-FAC of the network of :func:`mlp`, written out: weights with the bias as last column, after each batch."""
    weights = [weight.clone() for weight in weights]
    velocity, factors, inverses = [0., 0.], None, None
    for update, (x, y) in enumerate(data):
        number = len(x)
        a = [torch.cat([x, x.new_ones(number, 1)], 1)]
        hidden = torch.tanh(a[0] @ weights[0].T)
        a.append(hidden)
        own = torch.softmax(hidden @ weights[1].T, 1) - F.one_hot(y, 2)  # gradient of each example's own loss
        g = [(own @ weights[1]) * (1 - hidden**2), own]
        gradients = [g_.T @ a_ / number for g_, a_ in zip(g, a, strict=True)]
        if update % factor_interval == 0:
            new = [(a_.T @ a_ / number, g_.T @ g_ / number) for a_, g_ in zip(a, g, strict=True)]
            factors = new if factors is None else [
                tuple(decay * past + (1 - decay) * now for past, now in zip(*pairs, strict=True))
                for pairs in zip(factors, new, strict=True)]
        if update % inverse_interval == 0:
            inverses = []
            for big_a, big_g in factors:
                pi = ((big_a.trace() / len(big_a)) / (big_g.trace() / len(big_g)))**0.5
                inverses.append((torch.linalg.inv(big_a + pi * damping**0.5 * torch.eye(len(big_a), dtype=x.dtype)),
                                 torch.linalg.inv(big_g + damping**0.5 / pi * torch.eye(len(big_g), dtype=x.dtype))))
        steps = [right @ gradient @ left for (left, right), gradient in zip(inverses, gradients, strict=True)]
        divergence = sum(rate**2 * (step * gradient).sum() for rate, step, gradient in zip(rates, steps, gradients,
                                                                                         strict=True))
        scale = min(1., float((kl_clip / divergence)**0.5))
        for i, step in enumerate(steps):
            velocity[i] = momentum * velocity[i] + scale * step + weight_decay * weights[i]
            weights[i] = weights[i] - rates[i] * velocity[i]
    return weights


SETTINGS = [
    dict(),
    dict(decay=0.7),
    dict(momentum=0.9, weight_decay=0.05),
    dict(factor_interval=2, decay=0.5),
    dict(factor_interval=2, inverse_interval=3, decay=0.5),
    dict(kl_clip=1e-3),
    dict(kl_clip=1e-3, rates=(0.1, 0.3), momentum=0.9, decay=0.9),
]


@pytest.mark.parametrize('settings', SETTINGS)
def test_updates_are_those_written_out(settings):
    settings = dict(damping=0.01, decay=0., factor_interval=1, inverse_interval=1, kl_clip=float('inf'),
                    rates=(0.1, 0.1), momentum=0., weight_decay=0.) | settings
    model, data = mlp(), batches(6)
    start = [torch.cat([model[0].weight, model[0].bias[:, None]], 1).detach(), model[2].weight.detach()]
    expected = reference(start, data, **settings)
    optimizer = torch.optim.SGD(
        [dict(params=model[i].parameters(), lr=lr) for i, lr in zip((0, 2), settings['rates'], strict=True)],
        momentum=settings['momentum'], weight_decay=settings['weight_decay'])
    clip = settings['kl_clip'] if settings['kl_clip'] < float('inf') else None
    train(model, kfac(model, optimizer, damping=settings['damping'], factor_decay=settings['decay'], kl_clip=clip,
                      factor_interval=settings['factor_interval'], inverse_interval=settings['inverse_interval']), data)
    torch.testing.assert_close(torch.cat([model[0].weight, model[0].bias[:, None]], 1), expected[0])
    torch.testing.assert_close(model[2].weight, expected[1])


def test_ill_conditioned_regression_needs_far_fewer_steps_than_sgd():
    """Inputs of scales from 0.03 to 3 and noise of one scale: K-FAC is Newton's method up to the damping."""
    scales = torch.logspace(-1.5, 0.5, 8, dtype=torch.float64)
    x = torch.randn(512, 8, dtype=torch.float64) * scales
    y = (x / scales) @ torch.randn(8, 3, dtype=torch.float64) / 8**0.5 + torch.randn(512, 3, dtype=torch.float64)
    best = F.mse_loss(x @ torch.linalg.lstsq(x, y).solution, y)

    def steps_needed(wrap, lr, limit):
        model = nn.Linear(8, 3, bias=False).double()
        nn.init.zeros_(model.weight)
        wrapper = wrap(torch.optim.SGD(model.parameters(), lr=lr))
        start = F.mse_loss(model(x), y) - best
        for step in range(limit):
            with wrapper.optim_context(model):
                loss = F.mse_loss(model(x), y, reduction='sum') / (2 * len(x))
            if loss * 2 / 3 - best < 0.01 * start:
                return step
            wrapper.update_params(loss)
        return limit

    kfac_steps = steps_needed(partial(KFACOptimWrapper, damping=1e-6), 1., 20)
    sgd_steps = min(steps_needed(OptimWrapper, lr / float(scales.max())**2, 400) for lr in (0.5, 1., 1.5))
    assert kfac_steps < 10 and sgd_steps == 400


@pytest.mark.parametrize('build, shape', [(mlp, (8, 4)), (partial(nn.Conv2d, 2, 2, 3), (8, 2, 3, 3))])
def test_accumulated_parts_are_one_batch(build, shape):
    whole = nn.Sequential(build(), nn.Flatten()).double()
    parts, data = copy.deepcopy(whole), batches(4, shape)
    halves = [(x[i:i + 4], y[i:i + 4]) for x, y in data for i in (0, 4)]
    train(whole, kfac(whole), data)
    train(parts, kfac(parts, accumulative_counts=2), halves)
    assert_same_weights(parts, whole)


def test_last_parts_that_are_fewer_have_their_own_mean():
    whole = mlp()
    parts, data = copy.deepcopy(whole), batches(5)
    wrapper = kfac(parts, accumulative_counts=4)
    wrapper.initialize_count_status(parts, 0, 5)
    train(parts, wrapper, data)
    joint = tuple(torch.cat(tensors) for tensors in zip(*data[:4], strict=True))
    train(whole, kfac(whole), [joint, data[4]])
    assert_same_weights(parts, whole)


def test_layers_that_k_fac_does_not_know_are_left_to_sgd(device):
    model, data = cnn(device), batches(1, (8, 2, 4, 4), device)
    plain = copy.deepcopy(model)
    train(model, kfac(model), data)
    train(plain, OptimWrapper(torch.optim.SGD(plain.parameters(), lr=0.1)), data)
    for index, layer in enumerate(model):
        for actual, expected in zip(layer.parameters(), plain[index].parameters(), strict=True):
            assert torch.equal(actual, expected) == (index in (1, 3))
    assert all(torch.equal(actual, expected) for actual, expected in zip(model.buffers(), plain.buffers(), strict=True))


@pytest.mark.parametrize('changes', ['frozen', 'skip', 'other optimizer'])
def test_layers_left_out(changes):
    model = nn.ModuleDict(dict(first=nn.Sequential(nn.Linear(4, 4)), firstborn=nn.Linear(4, 2))).double()
    model.forward = lambda x: model['firstborn'](model['first'](x))
    plain = copy.deepcopy(model)
    plain.forward = lambda x: plain['firstborn'](plain['first'](x))
    settings, weights = {}, list(model.parameters())
    if changes == 'frozen':
        model['first'].requires_grad_(False)
    elif changes == 'skip':
        settings = dict(skip=['first'])
    else:
        weights = list(model['firstborn'].parameters())
    wrapper = kfac(model, torch.optim.SGD(weights, lr=0.1), **settings)
    train(model, wrapper, batches(1))
    train(plain, OptimWrapper(torch.optim.SGD(plain.parameters(), lr=0.1)), batches(1))
    assert set(wrapper.factors) == {'firstborn'}
    same = torch.equal(model['first'][0].weight, plain['first'][0].weight)
    assert same == (changes == 'skip')
    assert not torch.equal(model['firstborn'].weight, plain['firstborn'].weight)


def test_a_layer_trained_from_later_on_does_not_wait_for_the_next_inversions():
    model = mlp()
    wrapper, data = kfac(model, inverse_interval=5), batches(2)
    model[0].requires_grad_(False)
    train(model, wrapper, data[:1])
    model[0].requires_grad_(True)
    train(model, wrapper, data[1:])
    assert set(wrapper.inverses) == {'0', '2'}


def test_layers_that_share_a_weight_are_left_to_sgd():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)).double()
    model[1].weight = model[0].weight
    wrapper = kfac(model)
    train(model, wrapper, batches(1))
    assert set(wrapper.factors) == {'2'}


def test_a_layer_that_runs_several_times_sums_over_its_runs():
    layer = nn.Linear(2, 2).double()
    wrapper = kfac(layer, factor_decay=0.)
    x = torch.randn(4, 2, dtype=torch.float64)
    with wrapper.optim_context(layer):
        hidden = layer(x)
        hidden.retain_grad()
        output = layer(hidden)
        output.retain_grad()
    wrapper.update_params(output.square().sum() / 4)
    a = [torch.cat([inputs, torch.ones(4, 1, dtype=x.dtype)], 1) for inputs in (x, hidden)]
    g = [4 * tensor.grad for tensor in (hidden, output)]
    torch.testing.assert_close(wrapper.factors[''][0], sum(rows.T @ rows for rows in a) / 4)
    torch.testing.assert_close(wrapper.factors[''][1], sum(rows.T @ rows for rows in g) / 8)


@pytest.mark.parametrize('reentrant', [False, True])
def test_recomputed_activations_give_the_same_update(reentrant):
    model = mlp()
    plain, data = copy.deepcopy(model), batches(3)
    wrapper = kfac(model)
    for x, y in data:
        with wrapper.optim_context(model):
            loss = F.cross_entropy(checkpoint(model, x.requires_grad_(), use_reentrant=reentrant), y)
        wrapper.update_params(loss)
    train(plain, kfac(plain), data)
    assert_same_weights(model, plain, rtol=0, atol=0)


def test_in_place_activations_do_not_change_factors():
    model = cnn()
    other, data = copy.deepcopy(model), batches(2, (8, 2, 4, 4))
    for layer in other:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    assert_same_weights(train(model, kfac(model), data), train(other, kfac(other), data), rtol=0, atol=0)


def test_network_and_other_forward_passes_are_left_alone():
    model = mlp()
    (x, y), = batches(1)
    wrapper = kfac(model, factor_interval=2)
    with wrapper.optim_context(model):
        with torch.no_grad():
            model(x * 100)
        loss = F.cross_entropy(model(x), y)
    wrapper.update_params(loss)
    factor = wrapper.factors['0'][0]
    torch.testing.assert_close(factor[:4, :4], x.T @ x / 8)
    assert not any(layer._forward_hooks for layer in model)
    with wrapper.optim_context(model):  # the second update measures nothing
        assert not any(layer._forward_hooks for layer in model)
        loss = F.cross_entropy(model(x * 2), y)
    wrapper.update_params(loss)
    assert wrapper.factors['0'][0] is factor and wrapper.updates == 2


def test_layers_without_an_output_that_is_used_are_left_out():
    model = nn.Sequential(nn.Linear(4, 2), nn.Linear(4, 2)).double()
    wrapper = kfac(model)
    (x, y), = batches(1)
    unused = model[1].weight.clone()
    with wrapper.optim_context(model):
        model[1](x)
        loss = F.cross_entropy(model[0](x), y)
    wrapper.update_params(loss)
    assert set(wrapper.factors) == {'0'} and torch.equal(model[1].weight, unused)


def test_clipping_takes_the_preconditioned_gradient():
    model, data = mlp(), batches(1)
    free = copy.deepcopy(model)
    before = torch.cat([weight.flatten() for weight in model.parameters()])
    train(model, kfac(model, clip_grad=dict(max_norm=0.5)), data)
    train(free, kfac(free), data)
    step, free_step = (torch.cat([weight.flatten() for weight in network.parameters()]) - before
                       for network in (model, free))
    assert free_step.norm() > 0.1 * 0.5
    torch.testing.assert_close(step, free_step * (0.05 / free_step.norm()), rtol=1e-5, atol=0)


@pytest.mark.parametrize('steps', [1, 2, 3, 4])
def test_resumed_training_is_the_same_bit_for_bit(steps, device):
    """Through a file, with intervals that the interruption falls into."""
    settings = dict(factor_interval=2, inverse_interval=3, factor_decay=0.9, kl_clip=0.01)
    model, data = cnn(device), batches(7, (8, 2, 4, 4), device)
    whole = copy.deepcopy(model)
    train(whole, kfac(whole, torch.optim.SGD(whole.parameters(), lr=0.1, momentum=0.9), **settings), data)

    wrapper = kfac(model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), **settings)
    train(model, wrapper, data[:steps])
    file = io.BytesIO()
    torch.save(dict(model=model.state_dict(), optimizer=wrapper.state_dict()), file)
    file.seek(0)
    state = torch.load(file, map_location='cpu', weights_only=True)
    resumed = cnn(device)
    resumed.load_state_dict(state['model'])
    wrapper = kfac(resumed, torch.optim.SGD(resumed.parameters(), lr=0.1, momentum=0.9), **settings)
    wrapper.load_state_dict(state['optimizer'])
    assert wrapper.updates == steps
    train(resumed, wrapper, data[steps:])
    assert_same_weights(resumed, whole, rtol=0, atol=0)


def test_a_state_does_not_change_with_the_training_that_goes_on():
    model = mlp()
    wrapper, data = kfac(model), batches(2)
    train(model, wrapper, data[:1])
    state = wrapper.state_dict()['kfac']
    kept = copy.deepcopy(state)
    train(model, wrapper, data[1:])
    assert state['updates'] == 1
    for kind in ('factors', 'inverses'):
        for name, matrices in kept[kind].items():
            assert all(torch.equal(a, b) for a, b in zip(state[kind][name], matrices, strict=True))
            assert not torch.equal(wrapper.state_dict()['kfac'][kind][name][0], matrices[0])


def test_it_is_built_from_a_config_and_behaves_as_an_optim_wrapper(monkeypatch):
    model, told = cnn(), []
    monkeypatch.setattr(module, 'print_log', lambda text, **kwargs: told.append(text))
    wrapper = build_optim_wrapper(model, dict(
        type='mmgcp.KFACOptimWrapper', damping=0.1, optimizer=dict(type='SGD', lr=0.1, momentum=0.9),
        paramwise_cfg=dict(bias_lr_mult=2.), accumulative_counts=2))
    assert isinstance(wrapper, OptimWrapper) and wrapper.get_lr()['lr'][0] == 0.1
    train(model, wrapper, batches(4, (8, 2, 4, 4)))
    assert told == ['K-FAC preconditions 3 layers with 131 parameters and leaves 48 to SGD. The layers: 0, 5, 8.']


@pytest.mark.parametrize('settings, message', [
    (dict(damping=0), 'damping=0 must be a positive number'),
    (dict(damping=float('nan')), 'damping=nan must be'),
    (dict(kl_clip=-1.), 'kl_clip=-1.0 must be a positive number'),
    (dict(factor_decay=1), 'factor_decay=1 must be at least 0 and below 1'),
    (dict(factor_interval=0), 'factor_interval=0 must be an integer of at least 1'),
    (dict(inverse_interval=2.5), 'inverse_interval=2.5 must be an integer'),
    (dict(skip='head'), "skip='head' must be a list"),
])
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        kfac(mlp(), **settings)


@pytest.mark.parametrize('model, settings, message', [
    (nn.BatchNorm1d(4), {}, 'BatchNorm1d has no trained nn.Linear or ungrouped nn.Conv2d that K-FAC could'),
    (mlp().requires_grad_(False), {}, 'Sequential has no trained nn.Linear'),
    (mlp(), dict(skip=['0', '2']), 'Sequential has no trained nn.Linear .* shorten skip'),
    (mlp(), dict(skip=['3']), "skip names '3', but Sequential has no layer there that K-FAC could .* it has 0, 2"),
    (nn.DataParallel(mlp()), {}, 'K-FAC needs whole layers, and DataParallel spreads them'),
])
def test_networks_that_do_not_suit(model, settings, message):
    with pytest.raises(SetupError, match=message), kfac(model, **settings).optim_context(model):
        pass


def test_compiled_networks_are_refused():
    model = mlp()
    model.train_step = torch.compile(lambda: None)
    with pytest.raises(SetupError, match='torch.compile does not see'), kfac(model).optim_context(model):
        pass


def test_states_that_do_not_fit():
    model = mlp()
    wrapper = kfac(model)
    train(model, wrapper, batches(1))
    with pytest.raises(SetupError, match='training without K-FAC'):
        wrapper.load_state_dict(torch.optim.SGD(model.parameters(), lr=0.1).state_dict())
    with pytest.raises(SetupError, match='do not fit this network, those of 0 for one'):
        other = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2, bias=False)).double()
        loaded = kfac(other)
        loaded.load_state_dict(wrapper.state_dict())
        train(other, loaded, batches(1, (8, 3)))


def test_what_cannot_be_measured():
    model = mlp()
    (x, y), = batches(1)
    wrapper = kfac(model)
    with pytest.raises(SetupError, match='has seen no forward pass: run it inside optim_context'):
        wrapper.update_params(F.cross_entropy(model(x), y))
    wrapper = kfac(model)
    with pytest.raises(SetupError, match=r"layer 0 has a gradient, but did not run .* optim_wrapper.skip=\['0'\]"):
        with wrapper.optim_context(model):
            loss = F.cross_entropy(model[2](torch.tanh(x @ model[0].weight.T)), y)
        wrapper.update_params(loss)
    with pytest.raises(SetupError, match='K-FAC of 0, update 1: the Kronecker factors are not finite'):
        train(model, kfac(model), [(x * float('nan'), y)])


class Branched(nn.Module):
    """Network of which one layer runs in the first process only."""

    def __init__(self):
        super().__init__()
        self.body, self.branch = mlp(), nn.Linear(2, 2).double()

    def forward(self, x):
        x = self.body(x)
        return self.branch(x) if mmengine.dist.get_rank() == 0 else x


DISTRIBUTED = dict(
    whole=dict(kl_clip=1e-3, factor_interval=2, inverse_interval=2),
    parts=dict(accumulative_counts=2),
    branched=dict())


def work(rank, port, folder):
    """One of two processes, each with its half of every batch."""
    torch.distributed.init_process_group('gloo', f'tcp://127.0.0.1:{port}', rank=rank, world_size=2)
    for name, settings in DISTRIBUTED.items():
        torch.manual_seed(0)
        model = Branched() if name == 'branched' else mlp()
        ddp = nn.parallel.DistributedDataParallel(model, find_unused_parameters=name == 'branched')
        train(ddp, kfac(model, **settings), [(x[rank::2], y[rank::2]) for x, y in batches(4)])
        torch.save(model.state_dict(), folder / f'{name}_{rank}.pth')
    torch.distributed.barrier()
    os._exit(0)  # taking the processes' group down hangs now and then in torch 2.1


def fail_alone(rank, port, folder):
    """One of two processes; what the first is to invert cannot be inverted."""
    torch.distributed.init_process_group('gloo', f'tcp://127.0.0.1:{port}', rank=rank, world_size=2)

    def inverses(*_):
        if rank == 0:
            raise ValueError('not finite')
        return original(*_)

    original, kronecker.inverses = kronecker.inverses, inverses
    model = mlp()
    try:
        train(nn.parallel.DistributedDataParallel(model), kfac(model), batches(1))
    except SetupError as error:
        (folder / f'{rank}.txt').write_text(str(error))
    os._exit(0)


def test_processes_stop_together_where_one_cannot_invert(tmp_path):
    start_two(fail_alone, free_port(), tmp_path)
    sentences = [(tmp_path / f'{rank}.txt').read_text() for rank in range(2)]
    assert sentences[0] == sentences[1] and sentences[0].endswith('update 1: not finite; or lower the learning rate')


def test_two_processes_are_one_with_the_joint_batch(tmp_path):
    start_two(work, free_port(), tmp_path)
    saved = {name: [torch.load(tmp_path / f'{name}_{rank}.pth', weights_only=True) for rank in range(2)]
             for name in DISTRIBUTED}
    for name in ('whole', 'parts'):
        torch.manual_seed(0)
        model = mlp()
        train(model, kfac(model, **DISTRIBUTED[name]), batches(4))
        for state in saved[name]:
            for key, value in model.state_dict().items():
                torch.testing.assert_close(state[key], value)
    # A layer that runs in one of the processes only is trained in both alike.
    torch.manual_seed(0)
    for key, start in Branched().state_dict().items():
        assert torch.equal(*(state[key] for state in saved['branched']))
        assert not torch.equal(saved['branched'][0][key], start)
