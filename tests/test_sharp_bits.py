"""What becomes of a warning: at which line it is given; what settings, comments, filters do."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import linnet
import linnet.linen as nn
from linnet import sharp_bits
from linnet.errors import (
    FlagValueError,
    SharpBitWarning,
    SownAgainWarning,
    UnreadParametersWarning,
)

KEY = jax.random.key(0)
X = jnp.ones((2, 3))


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        self.sow('intermediates', 'x', x)
        return nn.Dense(3)(x)


def variables() -> Any:
    return Net().init(KEY, X)


def apply_with_stray(given: Any) -> Any:
    params = {**given['params'], 'Dense_0_lora': {'a': X}}
    return Net().apply({'params': params}, X)


@contextmanager
def recorded(action: Any = 'always') -> Iterator[list[Any]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter(action)
        yield caught


def test_a_warning_is_given_at_the_users_line() -> None:
    given = variables()
    with recorded() as caught:
        apply_with_stray(given)
        jax.jit(apply_with_stray)(given)
    assert [w.category for w in caught] == [UnreadParametersWarning] * 2
    for warning in caught:
        assert warning.filename == __file__
        assert warning.lineno == apply_with_stray.__code__.co_firstlineno + 2
        assert warning.message.code == 'LN251'
        assert warning.message.where == '/ (Net)'
    text = str(caught[0].message)
    assert text.startswith(
        "[LN251] / (Net): parameters were passed that are never read: 'Dense_0_l"
    )
    assert '\n' not in text
    assert 'Mend: ' in text


def test_python_gives_it_once_for_each_line() -> None:
    given = variables()
    with recorded('default') as caught:
        for _ in range(3):
            apply_with_stray(given)
    assert len(caught) == 1


def test_it_is_found_at_the_top_of_the_package() -> None:
    assert linnet.SharpBitWarning is SharpBitWarning
    assert 'SharpBitWarning' in dir(linnet)


@pytest.mark.parametrize('level', ['off', 'error', 'warn'])
def test_a_flag_decides_about_all(level: str) -> None:
    given = variables()
    with recorded() as caught, linnet.config.temp_flip_flag('linnet_sharp_bits', level):
        if level == 'error':
            with pytest.raises(UnreadParametersWarning, match=r'\[LN251\]'):
                apply_with_stray(given)
        else:
            apply_with_stray(given)
    assert len(caught) == (level == 'warn')


def test_the_flag_is_one_of_three() -> None:
    with pytest.raises(FlagValueError, match="is 'maybe', which is not one of warn, error, off"):
        linnet.config.update('linnet_sharp_bits', 'maybe')
    assert linnet.config.linnet_sharp_bits == 'warn'


def test_the_environment_sets_the_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    from linnet.configurations import choice_flag, config

    monkeypatch.setenv('A_CHOICE', 'Two')
    flag = choice_flag('a_choice', choices=('one', 'two'), help='')
    try:
        assert flag.value == 'two'
    finally:
        del config.__dict__['a_choice']
    monkeypatch.setenv('A_CHOICE', 'three')
    with pytest.raises(FlagValueError, match="A_CHOICE is 'three'"):
        choice_flag('a_choice', choices=('one', 'two'), help='')


def test_codes_are_silenced_and_escalated() -> None:
    given = variables()
    with recorded() as caught:
        with sharp_bits.silence('LN251'):
            apply_with_stray(given)
            with sharp_bits.escalate('LN251'), pytest.raises(UnreadParametersWarning):
                apply_with_stray(given)
            apply_with_stray(given)
        with sharp_bits.silence('LN252'):
            apply_with_stray(given)
    assert len(caught) == 1
    silenced = sharp_bits.silence('LN251')  # without a block: from now on
    with recorded() as caught:
        apply_with_stray(given)
    assert not caught
    with silenced:
        pass
    with recorded() as caught:
        apply_with_stray(given)
    assert len(caught) == 1


def test_filters_of_python_tell_codes_apart() -> None:
    given = variables()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        warnings.filterwarnings('ignore', r'\[LN251\]')
        apply_with_stray(given)
        warnings.simplefilter('ignore', UnreadParametersWarning)
        apply_with_stray(given)
        warnings.filterwarnings('error', r'\[LN251\]')
        with pytest.raises(UnreadParametersWarning):
            apply_with_stray(given)


def test_a_comment_allows_a_code_in_its_line() -> None:
    params = {**variables()['params'], 'Dense_0_lora': {'a': X}}
    with recorded() as caught:
        Net().apply({'params': params}, X)  # linnet: allow LN251
        Net().apply({'params': params}, X)  # linnet: allow LN101, LN251
    assert not caught
    with recorded() as caught:
        Net().apply({'params': params}, X)  # linnet: allow LN252
    assert len(caught) == 1


def test_a_warning_survives_pickling() -> None:
    warning = SownAgainWarning('it grows', why='w', mend='m', where='/ (Net)')
    other = pickle.loads(pickle.dumps(warning))
    assert type(other) is SownAgainWarning
    assert str(other) == str(warning) == '[LN254] / (Net): it grows. Why: w. Mend: m'


def test_code_without_a_file_counts_as_the_users() -> None:
    namespace: dict[str, Any] = {'sharp_bits': sharp_bits}
    exec('place = sharp_bits.user_line()', namespace)
    assert namespace['place'] == ('<string>', 1)
    assert sharp_bits.is_inner(sharp_bits.__file__)
    assert not sharp_bits.is_inner(__file__)
