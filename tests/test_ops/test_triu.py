import pytest
import torch
from torch.autograd import gradcheck

from mmgcp.ops import symmetric_from_triu, triu_size, triu_vector


def test_row_by_row_with_the_diagonal():
    matrix = torch.tensor([[1, 2, 3], [2, 4, 5], [3, 5, 6]])
    assert triu_vector(matrix).tolist() == [1, 2, 3, 4, 5, 6]
    assert symmetric_from_triu(torch.tensor([1, 2, 3, 4, 5, 6])).tolist() == matrix.tolist()


def test_published_sizes():
    assert triu_size(256) == 32896
    assert triu_size(128) == 8256


@pytest.mark.parametrize('dim', [1, 2, 7])
def test_inverse(dim, device):
    matrix = torch.randn(2, 3, dim, dim, device=device)
    matrix = matrix + matrix.mT
    assert torch.equal(symmetric_from_triu(triu_vector(matrix)), matrix)


def test_gradients(device):
    matrix = torch.randn(2, 4, 4, dtype=torch.float64, device=device, requires_grad=True)
    vector = torch.randn(2, 10, dtype=torch.float64, device=device, requires_grad=True)
    assert gradcheck(triu_vector, matrix)
    assert gradcheck(symmetric_from_triu, vector)


def test_wrong_shapes():
    with pytest.raises(ValueError, match=r'square matrices .* \(2, 3\)'):
        triu_vector(torch.rand(2, 3))
    with pytest.raises(ValueError, match=r'length D \(D \+ 1\) / 2, got the shape \(2, 5\)'):
        symmetric_from_triu(torch.rand(2, 5))
    with pytest.raises(ValueError, match='length'):
        symmetric_from_triu(torch.rand(2, 0))
