import pytest

from mmgcp.utils.errors import SetupError, explained, sentence_of


@pytest.mark.parametrize('error, sentence', [
    (FileNotFoundError(2, 'No such file or directory', 'a.pth'), 'a.pth: No such file or directory'),
    (OSError(28, 'No space left on device'), 'No space left on device'),
    (ValueError(' lr=-1 is negative. '), 'lr=-1 is negative'),
    (KeyError("'SDG is not in the registry'"), "'SDG is not in the registry'"),
    (KeyError('epoch'), "the key 'epoch' is missing"),
    (KeyError(3), "the key '3' is missing"),
    (AssertionError(), 'AssertionError'),
])
def test_sentence(error, sentence):
    assert sentence_of(error) == sentence


def test_what_libraries_refuse_is_a_mistake_of_the_user():
    with pytest.raises(SetupError, match="^the key 'bias' is missing$"), explained(KeyError):
        {}['bias']
    with pytest.raises(SetupError, match='^as it is$'), explained(ValueError):
        raise SetupError('as it is')
    with pytest.raises(TypeError), explained(ValueError):
        raise TypeError
