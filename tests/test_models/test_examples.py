import pytest

import mmgcp.models
import mmgcp.ops
from mmgcp.apis.activation_map import activation_map
from mmgcp.apis.complexity import complexity
from mmgcp.apis.export import export_classifier
from mmgcp.apis.launch import load_config
from mmgcp.apis.robustness.benchmarks import Benchmark
from mmgcp.apis.with_gcp import find_config, with_gcp

PUBLIC = [*(getattr(package, name) for package in (mmgcp.ops, mmgcp.models) for name in package.__all__),
          # Of the commands' functions, those for scripts of one's own.
          activation_map, Benchmark, complexity, export_classifier, find_config, load_config, with_gcp]


@pytest.mark.parametrize('public', [item for item in PUBLIC if callable(item)], ids=lambda item: item.__name__)
def test_public_functions_and_classes_have_an_example(public):
    assert '>>> ' in public.__doc__
