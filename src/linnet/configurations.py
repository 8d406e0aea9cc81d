"""Flags: named settings with a default, an environment variable and a scoped override.

A flag ``flax_profile`` is read where it is used, as ``config.flax_profile``. Its first value comes
from the environment variable ``LINNET_PROFILE``, else ``FLAX_PROFILE``, else its default;
``config.update`` changes it, ``config.temp_flip_flag`` for the length of a ``with`` block.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from linnet.errors.settings import FlagTruthError, FlagValueError, UnknownFlagError

_T = TypeVar('_T')
_TRUTHS = {
    **dict.fromkeys(('1', 'true', 't', 'yes', 'y', 'on'), True),
    **dict.fromkeys(('0', 'false', 'f', 'no', 'n', 'off'), False),
}


class Config:
    """The values of all flags, as attributes.

    >>> config.flax_profile
    True
    >>> with config.temp_flip_flag('profile', False):
    ...     config.flax_profile
    False
    """

    def update(self, name_or_holder: str | FlagHolder[Any], value: Any, /) -> None:
        """Sets a flag, given by name or as its holder.

        Raises:
            UnknownFlagError: if there is no such flag.
            FlagValueError: if the value is a string, and the flag is no choice of strings; or none
                of the choices.
        """
        name = name_or_holder.name if isinstance(name_or_holder, FlagHolder) else name_or_holder
        if name not in self.__dict__:
            raise UnknownFlagError(name, known=self.__dict__)
        if name in _choices:
            _check_choice(name, value, _choices[name])
        elif isinstance(value, str):
            raise FlagValueError(name, value, wanted='a boolean or a number', mend='1')
        self.__dict__[name] = value

    __setattr__ = update

    def __getattr__(self, name: str) -> Any:
        raise UnknownFlagError(name, known=self.__dict__)

    @contextmanager
    def temp_flip_flag(self, var_name: str, var_value: Any) -> Iterator[None]:
        """Sets a flag within a ``with`` block; ``flax_`` may be left out of its name."""
        name = f'flax_{var_name}' if f'flax_{var_name}' in self.__dict__ else var_name
        before = self.__dict__.get(name)
        self.update(name, var_value)
        try:
            yield
        finally:
            self.update(name, before)

    def __repr__(self) -> str:
        lines = (f'  {name}={value}' for name, value in self.__dict__.items())
        return 'Config(\n' + ',\n'.join(lines) + '\n)'


config = Config()
_choices: dict[str, tuple[str, ...]] = {}


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise FlagValueError(name, value, wanted=f'one of {", ".join(choices)}', mend=choices[0])


class FlagHolder(Generic[_T]):
    """A flag as an object: its name, its help and, as ``value``, what it is set to now."""

    def __init__(self, name: str, help: str) -> None:
        self.name = name
        self.__doc__ = help

    def __bool__(self) -> bool:
        raise FlagTruthError(self.name)

    @property
    def value(self) -> _T:
        """What the flag is set to now."""
        return getattr(config, self.name)


def static_bool_env(varname: str, default: bool) -> bool:
    """Reads a boolean from the environment; ``LINNET_X`` goes before ``FLAX_X``."""
    return _environment(varname, default, lambda text: _TRUTHS[text.lower()], 'a boolean')


def static_int_env(varname: str, default: int | None) -> int | None:
    """Reads a number from the environment; ``LINNET_X`` goes before ``FLAX_X``."""
    return _environment(varname, default, int, 'a number')


def _environment(varname: str, default: Any, parse: Callable[[str], Any], wanted: str) -> Any:
    own = 'LINNET_' + varname.removeprefix('FLAX_')
    name = own if own in os.environ else varname
    text = os.environ.get(name)
    try:
        return default if text is None else parse(text)
    except (KeyError, ValueError):
        raise FlagValueError(name, text, wanted=wanted, mend='1') from None


def bool_flag(name: str, *, default: bool, help: str) -> FlagHolder[bool]:
    """Defines a boolean flag of that name."""
    config.__dict__[name] = static_bool_env(name.upper(), default)
    return FlagHolder(name, help)


def int_flag(name: str, *, default: int | None, help: str) -> FlagHolder[int | None]:
    """Defines a flag of that name which is a number or None."""
    config.__dict__[name] = static_int_env(name.upper(), default)
    return FlagHolder(name, help)


def choice_flag(name: str, *, choices: tuple[str, ...], help: str) -> FlagHolder[str]:
    """Defines a flag of that name which is one of some words; the first is the default."""
    variable = name.upper()
    value = os.environ.get(variable, choices[0]).lower()
    _check_choice(variable, value, choices)
    _choices[name] = choices
    config.__dict__[name] = value
    return FlagHolder(name, help)


_NNX = 'A setting of NNX, kept for programs that set it; nothing here reads it.'

flax_filter_frames = bool_flag(
    'flax_filter_frames', default=True, help="Hide this library's frames from tracebacks."
)
flax_profile = bool_flag(
    'flax_profile', default=True, help='Name operations by their module in profiles.'
)
flax_use_orbax_checkpointing = bool_flag(
    'flax_use_orbax_checkpointing', default=True, help='Write checkpoints with Orbax.'
)
flax_preserve_adopted_names = bool_flag(
    'flax_preserve_adopted_names', default=False, help='An attribute keeps the name it came with.'
)
flax_return_frozendict = bool_flag(
    'flax_return_frozendict', default=False, help='Return variables as FrozenDict, not as dict.'
)
flax_fix_rng = bool_flag(
    'flax_fix_rng_separator', default=False, help='Separate the names of a path in its digest.'
)
flax_use_flaxlib = bool_flag('flax_use_flaxlib', default=False, help=_NNX)
flax_array_ref = bool_flag('flax_array_ref', default=False, help=_NNX)
flax_pytree_module = bool_flag('flax_pytree_module', default=True, help=_NNX)
flax_max_repr_depth = int_flag('flax_max_repr_depth', default=None, help=_NNX)
flax_always_shard_variable = bool_flag('flax_always_shard_variable', default=True, help=_NNX)
flax_hijax_variable = bool_flag('flax_hijax_variable', default=False, help=_NNX)
nnx_graph_mode = bool_flag('nnx_graph_mode', default=True, help=_NNX)
nnx_graph_updates = bool_flag('nnx_graph_updates', default=True, help=_NNX)
nnx_sow_capture_noop = bool_flag('nnx_sow_capture_noop', default=False, help=_NNX)
linnet_sharp_bits = choice_flag(
    'linnet_sharp_bits',
    choices=('warn', 'error', 'off'),
    help='What a SharpBitWarning does: warn, be raised, or nothing.',
)
linnet_fast_init = bool_flag(
    'linnet_fast_init', default=True, help='Let init compute variables, not the forward pass.'
)
linnet_fast_masks = bool_flag(
    'linnet_fast_masks', default=False, help='Draw masks of dropout faster, and other ones.'
)
linnet_hoist_inputs = bool_flag(
    'linnet_hoist_inputs', default=True, help='On GPUs, RNN multiplies inputs before its loop.'
)
linnet_reuse_traces = bool_flag(
    'linnet_reuse_traces', default=True, help='Trace equal blocks of a model once in each apply.'
)
