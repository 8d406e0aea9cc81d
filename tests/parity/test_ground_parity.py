"""The ground under core and linen: errors, flags, ids, types, file calls."""

from __future__ import annotations

import copy
import inspect
import os
import pickle
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.parity.harness import ORACLE, OURS, PAIR, assert_same_tree, same, same_error

ERRORS = [
    name
    for name, value in vars(ORACLE.errors).items()
    if isinstance(value, type) and issubclass(value, Exception)
]


def parameters(function):
    return [
        (p.name, p.kind, p.default) for p in list(inspect.signature(function).parameters.values())
    ]


@pytest.mark.parametrize('name', ERRORS)
def test_an_error_takes_the_arguments_of_the_oracles(name):
    theirs, ours = (getattr(lib.errors, name) for lib in (ORACLE, OURS))
    wanted = parameters(theirs.__init__)
    if name == 'FlaxError':
        wanted = [(p if p != 'message' else 'what', *rest) for p, *rest in wanted]
    got = parameters(ours.__init__)
    assert got[: len(wanted)] == wanted
    for _, kind, default in got[len(wanted) :]:
        assert kind is inspect.Parameter.KEYWORD_ONLY
        assert default is not inspect.Parameter.empty
    arguments = [f'argument {i}' for i in range(len(wanted) - 1)]
    assert str(ours(*arguments)).startswith(f'[{ours.code}] ')


FLAGS = [name for name in dir(ORACLE.load('configurations').config) if name.startswith(('f', 'n'))]


def flag_values(lib):
    config = lib.load('configurations').config
    return {name: getattr(config, name) for name in FLAGS}


def test_flags_have_the_same_names_and_defaults():
    same(flag_values)
    theirs, ours = (' '.join(repr(lib.load('configurations').config).split()) for lib in PAIR)
    assert ours.startswith(theirs.removesuffix(' )'))
    assert len(FLAGS) >= 14


def test_flag_holders_have_the_same_names():
    holders = {
        name: holder.name
        for name, holder in vars(ORACLE.load('configurations')).items()
        if hasattr(holder, 'value') and hasattr(holder, 'name')
    }
    module = OURS.load('configurations')
    assert holders == {name: getattr(module, name).name for name in holders}
    assert len(holders) == len(FLAGS)


PRINT_FLAGS = """
import importlib, sys
config = importlib.import_module(sys.argv[1] + '.configurations').config
print({name: getattr(config, name) for name in sys.argv[2:]})
"""


def flags_in_a_new_process(lib, environment):
    command = [sys.executable, '-c', PRINT_FLAGS, lib.name, *FLAGS]
    paths = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, 'PYTHONPATH': paths, **environment}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return run.stdout


def test_flags_are_read_from_the_same_environment_variables():
    defaults = flag_values(ORACLE)
    flipped = {
        name.upper(): '3' if value is None else str(not value).lower()
        for name, value in defaults.items()
    }
    theirs, ours = (flags_in_a_new_process(lib, flipped) for lib in (ORACLE, OURS))
    assert theirs == ours
    assert all(str(not value) in theirs for value in (True, False))


@pytest.mark.parametrize(
    'text', ['1', '0', 'true', 'TRUE', 'yes', 'y', 't', 'on', 'off', 'n', 'no', 'f', 'False']
)
def test_booleans_are_read_from_the_same_texts(text, monkeypatch):
    monkeypatch.setenv('A_FLAG', text)
    for default in (True, False):
        same(lambda lib, d=default: lib.load('configurations').static_bool_env('A_FLAG', d))


@pytest.mark.parametrize('text', ['1', '-3', ' 4 '])
def test_numbers_are_read_from_the_same_texts(text, monkeypatch):
    monkeypatch.setenv('A_FLAG', text)
    same(lambda lib: lib.load('configurations').static_int_env('A_FLAG', 7))


@pytest.mark.parametrize('text', ['', 'maybe', '2', '1.5'])
def test_other_texts_are_refused(text, monkeypatch):
    monkeypatch.setenv('A_FLAG', text)
    same_error(lambda lib: lib.load('configurations').static_bool_env('A_FLAG', True))
    if text != '2':
        same_error(lambda lib: lib.load('configurations').static_int_env('A_FLAG', 7))


def test_defaults_hold_where_the_environment_says_nothing():
    same(lambda lib: lib.load('configurations').static_bool_env('A_FLAG', True))
    same(lambda lib: lib.load('configurations').static_int_env('A_FLAG', None))


def test_flags_are_set_and_restored_alike():
    def program(lib):
        module = lib.load('configurations')
        config, seen = module.config, []
        config.update('flax_profile', False)
        seen.append(config.flax_profile)
        config.update(module.flax_profile, True)
        seen.append(module.flax_profile.value)
        with config.temp_flip_flag('profile', False):
            seen.append(config.flax_profile)
        try:
            with config.temp_flip_flag('return_frozendict', True):
                seen.append(config.flax_return_frozendict)
                raise ZeroDivisionError
        except ZeroDivisionError:
            seen.append(config.flax_return_frozendict)
        return [*seen, config.flax_profile]

    same(program)


def test_wrong_uses_of_flags_are_refused_alike():
    same_error(lambda lib: lib.load('configurations').config.update('flax_profle', True))
    same_error(lambda lib: lib.load('configurations').config.flax_profle)
    same_error(lambda lib: bool(lib.load('configurations').flax_profile))

    def flip(lib):
        with lib.load('configurations').config.temp_flip_flag('profle', True):
            pass

    same_error(flip)


def test_ids():
    def program(lib):
        ids = lib.load('ids')
        a, b = ids.uuid(), ids.uuid()
        return {
            'reprs': [repr(ids.UUIDManager()()), repr(ids.FlaxId('x'))],
            'equal': [a == a, a == b, a == a.id, hash(a) == hash(a.id)],
            'copies': [copy.copy(a) == a, copy.deepcopy(a) == a],
            'pickles': pickle.loads(pickle.dumps(a)) == a,
            'kind': type(ids.uuid).__name__,
        }

    same(program)


def alike(ours, theirs):
    """Whether two names for types mean the same, apart from classes that each library defines."""
    text = [str(x).replace(OURS.name, ORACLE.name) for x in (ours, theirs)]
    text = [t.replace('._frozen_dict', '.core.frozen_dict') for t in text]
    text = [t.replace('typing.Optional[int]', 'int | None') for t in text]
    return ours == theirs or text[0] == text[1]


def test_names_of_types():
    theirs, ours = (lib.load('typing') for lib in (ORACLE, OURS))
    missing, different = [], []
    for name, value in vars(theirs).items():
        imported = getattr(value, '__module__', '') in ('typing', 'functools', 'collections.abc')
        if name.startswith('_') or isinstance(value, types.ModuleType) or name == 'annotations':
            continue
        if not hasattr(ours, name):
            missing += [] if imported else [name]
        elif not isinstance(value, type | types.FunctionType) and not alike(
            getattr(ours, name), value
        ):
            different.append(name)
    assert missing == []
    assert different == ['MISSING']


def test_in_and_out():
    def program(lib):
        module = lib.load('typing')
        i, o = module.In(0), module.Out(axis=None)
        return [repr(i), repr(o), i == module.In(0), i == o, hash(i) == hash(module.In(0))]

    same(program)
    same_error(lambda lib: setattr(lib.load('typing').In(0), 'axis', 1))


def test_hashable_mappings():
    def program(lib):
        cls = lib.load('typing').HashableMapping
        items = {'a': 1, 'b': 2}
        copied, shared = cls(items), cls(items, copy=False)
        items['c'] = 3
        updated = copied.update({'b': 5, 'd': 6})
        return {
            'reprs': [repr(copied), repr(shared), repr(updated)],
            'read': [len(copied), list(copied), copied['a'], copied.get('q'), 'a' in copied],
            'equal': [copied == {'a': 1, 'b': 2}, copied == cls({'b': 2, 'a': 1}), copied == 3],
            'hash': hash(copied) == hash(cls({'b': 2, 'a': 1})),
        }

    same(program)
    same_error(lambda lib: lib.load('typing').HashableMapping({})['q'])
    same_error(lambda lib: hash(lib.load('typing').HashableMapping({'a': [1]})))


def test_sizes():
    def program(lib):
        cls = lib.load('typing').SizeBytes
        arrays = {'a': jnp.ones((2, 3), jnp.bfloat16), 'b': [np.ones(2), 3.0, 'x', None]}
        values = [
            cls(1, 2) + cls(3, 4),
            cls.from_any(arrays),
            cls.from_any(jax.random.key(0)),
            cls.from_array(jax.ShapeDtypeStruct((2,), jnp.int8)),
            *(cls(n, n) for n in (0, 999, 1000, 1001, 12345, 10**6, 10**6 + 1, 10**9, 10**13)),
        ]
        return [repr(value) for value in values], [bool(cls(0, 1)), bool(cls(1, 0))]

    same(program)


def test_deques_are_pytrees():
    def program(lib):
        items = lib.load('typing').PytreeDeque([1, {'a': 2}], maxlen=4)
        paths, _ = jax.tree_util.tree_flatten_with_path(items)
        return jax.tree.map(lambda x: x + 1, items), [(str(path), leaf) for path, leaf in paths]

    same(program)


def test_shapes_and_keys():
    def program(lib):
        module = lib.load('typing')
        arrays = [jnp.ones(2), np.float32(3), jax.ShapeDtypeStruct((), jnp.int8), 3, 'x']
        return [module.has_shape_dtype(x) for x in arrays], [
            module.is_key_like(x) for x in (3, 'a', (1,), 1.5, None)
        ]

    same(program)


def setting_of(lib):
    class Setting(lib.load('typing').BaseConfigContext):
        stack: list = []  # noqa: RUF012 - one stack for the class is the point

        @classmethod
        def get_default(cls):
            return 'default'

        @classmethod
        def get_stack(cls):
            return cls.stack

    return Setting


def test_settings_with_a_context():
    def program(lib):
        setting = setting_of(lib)
        seen = [setting.current_value()]
        kept = setting('x')
        seen.append(setting.current_value())
        with setting('y') as entered:
            seen += [entered, setting.current_value(), list(setting.stack)]
        seen.append(setting.current_value())
        with kept:
            seen.append(setting.current_value())
        seen.append(setting.current_value())

        @setting('z')
        def read():
            return setting.current_value()

        return [*seen, read(), setting.current_value(), read.__name__]

    same(program)
    same_error(lambda lib: lib.load('typing').BaseConfigContext('x'))


def file_calls(lib):
    """Every file call where it succeeds, in the present folder."""
    io = lib.load('io')
    io.makedirs('a/b/c')
    io.makedirs('a/b/c')
    with io.GFile('a/x.txt', 'w') as file:
        file.write('hello')
    with io.GFile('a/y.bin', 'wb') as file:
        file.write(b'123')
    seen = [sorted(io.listdir('a')), sorted(io.glob('a/*')), io.glob('a/q*'), io.getsize('a/x.txt')]
    seen += [io.exists('a/b'), io.isdir('a/b'), io.isdir('a/x.txt'), io.exists('zz')]
    io.copy('a/x.txt', 'a/z.txt')
    io.copy('a/x.txt', 'a/y.bin', overwrite=True)
    io.rename('a/x.txt', 'a/w.txt')
    io.rename('a/w.txt', 'a/z.txt', overwrite=True)
    io.rename('a/b', 'd')
    io.remove('a/z.txt')
    with io.GFile('a/y.bin', 'rb') as file:
        seen += [sorted(io.listdir('a')), sorted(io.listdir('.')), file.read()]
    io.rmtree('d')
    seen += [io.listdir('.'), list(io.BackendMode.__members__), io.NotFoundError]
    with io.override_mode(io.BackendMode.DEFAULT) as entered:
        seen.append(entered)
    return seen


def test_file_calls(tmp_path, monkeypatch):
    outcomes = []
    for lib in (ORACLE, OURS):
        (tmp_path / lib.name).mkdir()
        monkeypatch.chdir(tmp_path / lib.name)
        outcomes.append(file_calls(lib))
    assert_same_tree(*outcomes)


WRONG_FILE_CALLS = [
    lambda io: io.listdir('nope'),
    lambda io: io.getsize('nope'),
    lambda io: io.remove('nope'),
    lambda io: io.remove('folder'),
    lambda io: io.rmtree('nope'),
    lambda io: io.rename('nope', 'b'),
    lambda io: io.rename('file', 'folder'),
    lambda io: io.copy('nope', 'b'),
    lambda io: io.copy('file', 'folder'),
    lambda io: io.copy('file', 'nope/b'),
    lambda io: io.GFile('nope', 'r'),
]


@pytest.mark.parametrize('call', WRONG_FILE_CALLS)
def test_wrong_file_calls_are_refused_alike(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'file').write_text('x')
    same_error(lambda lib: call(lib.load('io')))
    assert sorted(os.listdir()) == ['file', 'folder']


def test_tracebacks_are_filtered_by_the_same_calls():
    theirs, ours = (lib.load('traceback_util') for lib in (ORACLE, OURS))
    assert ours.api_boundary is theirs.api_boundary
    assert type(ours._flax_exclusions) is type(theirs._flax_exclusions) is set
    for name in ('register_exclusion', 'hide_flax_in_tracebacks', 'show_flax_in_tracebacks'):
        wanted, got = (list(inspect.signature(getattr(m, name)).parameters) for m in (theirs, ours))
        assert wanted == got
