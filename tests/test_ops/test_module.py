import pytest
import torch

from mmgcp.ops import METHODS, CovariancePooling, covariance_pool

from .test_pooling import features


def test_module_gives_the_vector(device):
    x = features(2, 6, 3, 3, device=device)
    module = CovariancePooling(6, num_iters=3, scale_off_diagonal=True)
    assert module.out_channels == 21 and not module.state_dict()
    torch.testing.assert_close(module(x), covariance_pool(x, num_iters=3, vector=True, scale_off_diagonal=True))
    assert repr(module) == "CovariancePooling('newton_schulz', num_iters=3)"


@pytest.mark.parametrize('method, width', [('covariance', 21), ('log', 21), ('gaussian', 28), ('dropcov', 21),
                                           ('compact_bilinear', 8192)])
def test_module_knows_its_width_without_touching_random_numbers(method, width, device):
    before = torch.get_rng_state()
    module = CovariancePooling(6, method).to(device)
    assert module.out_channels == width
    if METHODS[method].state is None:
        assert torch.equal(torch.get_rng_state(), before)
    assert module(torch.rand(2, 6, 3, 3, device=device)).shape == (2, width)


@pytest.mark.parametrize('method', METHODS)
def test_module_can_be_built_without_memory(method):
    expected = CovariancePooling(6, method)(torch.rand(2, 6, 3, 3)).shape
    with torch.device('meta'):
        assert CovariancePooling(6, method)(torch.rand(2, 6, 3, 3)).shape == expected


def test_sketch_goes_into_the_checkpoint(device):
    first, second = (CovariancePooling(6, 'compact_bilinear', out_channels=32).to(device) for _ in range(2))
    x = features(2, 6, 3, 3, device=device)
    assert not torch.allclose(first(x), second(x))
    assert set(first.state_dict()) == {'sketch_hashes', 'sketch_signs'}
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(x), second(x))


def test_declared_options_are_those_of_the_function():
    assert METHODS['dropcov'].options == dict(center=True)
    assert METHODS['compact_bilinear'].options == dict(out_channels=8192, alpha=0.5, center=True)
    assert METHODS['eigh'].sided and not METHODS['covariance'].sided
    assert repr(CovariancePooling(6, 'compact_bilinear')) == "CovariancePooling('compact_bilinear', out_channels=8192)"
