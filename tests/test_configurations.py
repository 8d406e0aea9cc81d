"""Flags: names, environment variables, scoped override; wrong names and values."""

from __future__ import annotations

import pytest

from linnet import configurations
from linnet.configurations import config
from linnet.errors import FlagTruthError, FlagValueError, UnknownFlagError


@pytest.fixture
def a_flag():
    yield configurations.bool_flag('flax_a_flag', default=True, help='A flag of this test.')
    config.__dict__.pop('flax_a_flag', None)


def test_a_flag_is_defined_read_and_set(a_flag):
    assert config.flax_a_flag is a_flag.value is True
    config.update(a_flag, False)
    assert config.flax_a_flag is a_flag.value is False
    config.flax_a_flag = 1
    assert a_flag.value == 1
    assert a_flag.__doc__ == 'A flag of this test.'
    assert '\n  flax_a_flag=1\n)' in repr(config)


def test_a_flag_is_overridden_within_a_block(a_flag):
    with pytest.raises(ZeroDivisionError), config.temp_flip_flag('a_flag', False):
        raise ZeroDivisionError
    assert config.flax_a_flag is True
    with config.temp_flip_flag('flax_a_flag', False):
        assert config.flax_a_flag is False
    assert config.flax_a_flag is True


@pytest.mark.parametrize(
    ('environment', 'value'),
    [
        ({}, True),
        ({'FLAX_A_FLAG': '0'}, False),
        ({'LINNET_A_FLAG': '0'}, False),
        ({'LINNET_A_FLAG': '1', 'FLAX_A_FLAG': '0'}, True),
        ({'LINNET_A_FLAG': '0', 'FLAX_A_FLAG': '1'}, False),
    ],
)
def test_our_environment_variable_goes_first(environment, value, monkeypatch):
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    assert configurations.static_bool_env('FLAX_A_FLAG', True) is value
    assert configurations.static_int_env('FLAX_A_FLAG', 1) == int(value)


def test_a_flag_may_be_a_number(monkeypatch):
    monkeypatch.setenv('LINNET_NNX_NUMBER', '3')
    try:
        assert configurations.int_flag('nnx_number', default=None, help='').value == 3
    finally:
        config.__dict__.pop('nnx_number', None)


def test_an_unknown_name_is_refused_with_the_nearest():
    for use in (
        lambda: config.update('flax_profle', True),
        lambda: setattr(config, 'flax_profle', True),
        lambda: config.flax_profle,
        lambda: config.temp_flip_flag('flax_profle', True).__enter__(),
    ):
        with pytest.raises(UnknownFlagError, match=r"no flag 'flax_profle'\n.*'flax_profile'\?"):
            use()
    assert not hasattr(config, 'flax_profle')


def test_a_value_of_the_wrong_kind_is_refused(monkeypatch):
    with pytest.raises(FlagValueError, match="flax_profile is 'False'"):
        config.update('flax_profile', 'False')
    assert config.flax_profile is True
    monkeypatch.setenv('LINNET_A_FLAG', 'maybe')
    with pytest.raises(FlagValueError, match="LINNET_A_FLAG is 'maybe', which is not a boolean"):
        configurations.static_bool_env('FLAX_A_FLAG', True)
    with pytest.raises(FlagValueError, match="LINNET_A_FLAG is 'maybe', which is not a number"):
        configurations.static_int_env('FLAX_A_FLAG', 3)


def test_a_holder_is_no_condition():
    with pytest.raises(FlagTruthError, match=r'flax_profile\.value'):
        bool(configurations.flax_profile)
