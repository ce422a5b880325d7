import pytest

import mmgcp.models
import mmgcp.ops

PUBLIC = [getattr(package, name) for package in (mmgcp.ops, mmgcp.models) for name in package.__all__]


@pytest.mark.parametrize('thing', filter(callable, PUBLIC), ids=lambda thing: thing.__name__)
def test_what_is_public_has_an_example(thing):
    assert '>>> ' in thing.__doc__
