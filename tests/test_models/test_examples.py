import pytest

import mmgcp.models
import mmgcp.ops

PUBLIC = [getattr(package, name) for package in (mmgcp.ops, mmgcp.models) for name in package.__all__]


@pytest.mark.parametrize('public', [item for item in PUBLIC if callable(item)], ids=lambda item: item.__name__)
def test_public_functions_and_classes_have_an_example(public):
    assert '>>> ' in public.__doc__
