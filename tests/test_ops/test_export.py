"""Graphs for other runtimes."""
import warnings

import numpy as np
import pytest
import torch

from mmgcp.ops import METHODS, CovariancePooling
from mmgcp.ops.compat import COMPILES_FUNCTIONS

from .test_pooling import features


def module_and_input(method, channels, device):
    options = dict(out_channels=16) if 'out_channels' in METHODS[method].options else {}
    module = CovariancePooling(channels, method, **options)
    return module.to(device).eval(), features(2, channels, 4, 3, device=device, dtype=torch.float32)


@pytest.mark.parametrize('method, channels', [
    *((name, 20) for name, method in METHODS.items() if not method.factorises), ('newton_schulz', 5)])
def test_onnx(method, channels, device, tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    if not COMPILES_FUNCTIONS and method == 'compact_bilinear':
        pytest.skip('the older exporter cannot sum over repeated indices')
    module, x = module_and_input(method, channels, device)
    path = tmp_path / 'pooling.onnx'
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        if COMPILES_FUNCTIONS:
            torch.onnx.export(module, (x, ), path, dynamo=True, verbose=False)
        else:
            torch.onnx.export(module, (x, ), path)
    session = onnxruntime.InferenceSession(path)
    out, = session.run(None, {session.get_inputs()[0].name: x.cpu().numpy()})
    np.testing.assert_allclose(out, module(x).detach().cpu().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('method', METHODS)
def test_torch_export(method, device):
    if not COMPILES_FUNCTIONS:
        pytest.skip('this torch.export does not take a batch of any size')
    module, x = module_and_input(method, 20, device)
    batch = torch.export.Dim('batch', min=2)
    exported = torch.export.export(module, (x, ), dynamic_shapes=([batch, None, None, None], ))
    other = torch.cat([x, x.flip(0), x + 1])
    torch.testing.assert_close(exported.module()(other), module(other))


def test_the_older_exporter_of_onnx_is_refused_where_it_errs(device, tmp_path):
    module, x = module_and_input('compact_bilinear', 20, device)
    options = dict(dynamo=False) if COMPILES_FUNCTIONS else {}
    with warnings.catch_warnings(), pytest.raises(NotImplementedError, match='dynamo=True'):
        warnings.simplefilter('ignore')
        torch.onnx.export(module, (x, ), tmp_path / 'pooling.onnx', **options)
