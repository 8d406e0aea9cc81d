"""State dicts of trees and their bytes, and what becomes of bytes that nobody wrote."""

from __future__ import annotations

import collections
import contextlib
import struct
import threading
import warnings

import jax
import jax.numpy as jnp
import ml_dtypes
import msgpack
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnet import serialization
from linnet.core.frozen_dict import FrozenDict
from linnet.errors import SerializationError, SharpBitWarning, StateDictError
from linnet.serialization import (
    from_bytes,
    from_state_dict,
    msgpack_restore,
    msgpack_serialize,
    to_bytes,
    to_state_dict,
)

Pair = collections.namedtuple('Pair', 'first second')
CHUNKED = '__msgpack_chunked_array__'
DTYPES = [
    *(np.dtype(name) for name in 'bool int8 int16 int32 int64 uint8 uint16 uint32 uint64'.split()),
    *(np.dtype(code) for code in 'efdFD'),
    *(np.dtype(getattr(ml_dtypes, name)) for name in ('bfloat16', 'float8_e4m3fn', 'float8_e5m2')),
    *(np.dtype(getattr(ml_dtypes, name)) for name in ('float8_e4m3b11fnuz', 'int4', 'uint4')),
]


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(serialization, 'MAX_CHUNK_SIZE', 16)


# State dicts.


def test_a_state_dict_has_string_keys_all_the_way_down():
    tree = {
        1: [1, {'a': (3, 4)}],
        'pair': Pair(1, [2]),
        'frozen': FrozenDict(b=1, a={'z': 2}),
        'call': jax.tree_util.Partial(max, 1, [2], key=3),
        'none': None,
        'empty': ({}, [], ()),
    }
    assert to_state_dict(tree) == {
        '1': {'0': 1, '1': {'a': {'0': 3, '1': 4}}},
        'pair': {'first': 1, 'second': {'0': 2}},
        'frozen': {'b': 1, 'a': {'z': 2}},
        'call': {'args': {'0': 1, '1': {'0': 2}}, 'keywords': {'key': 3}},
        'none': None,
        'empty': {'0': {}, '1': {}, '2': {}},
    }
    assert type(to_state_dict(tree)['frozen']['a']) is dict


def test_a_leaf_is_its_own_state_dict():
    leaf, ordered = object(), collections.OrderedDict(a=1)
    assert to_state_dict(leaf) is leaf
    assert to_state_dict(ordered) is ordered
    assert from_state_dict(leaf, {'any': 'state'}) == {'any': 'state'}
    assert from_state_dict(None, 3) == 3


def test_a_target_takes_the_values_and_keeps_its_own_types():
    target = {
        1: [0, (0, 0)],
        'pair': Pair(0, 0),
        'frozen': FrozenDict(b=0, a={'z': [0]}),
        'call': jax.tree_util.Partial(max, 0, key=0),
        'any': None,
    }
    state = {
        'any': {'new': 9},
        'call': {'args': {'0': 1}, 'keywords': {'key': 2}},
        'frozen': {'a': {'z': {'0': 3}}, 'b': 4},
        'pair': {'second': 6, 'first': 5},
        '1': {'0': 7, '1': {'1': 9, '0': 8}},
    }
    restored = from_state_dict(target, state)
    call = restored.pop('call')
    assert (call.func, call.args, call.keywords) == (max, (1,), {'key': 2})
    assert restored == {
        1: [7, (8, 9)],
        'pair': Pair(5, 6),
        'frozen': {'b': 4, 'a': {'z': [3]}},
        'any': {'new': 9},
    }
    assert list(restored) == [1, 'pair', 'frozen', 'any']
    assert type(restored['frozen']) is FrozenDict


def test_a_named_tuple_reads_the_form_of_old_files():
    old = {'name': 'Pair', 'fields': {'0': 'first', '1': 'second'}, 'values': {'0': 5, '1': 6}}
    assert from_state_dict(Pair(0, 0), old) == Pair(5, 6)
    own = collections.namedtuple('Own', 'name fields values')
    assert from_state_dict(own(0, 0, 0), {'name': 1, 'fields': 2, 'values': 3}) == own(1, 2, 3)


@pytest.mark.parametrize(
    ('target', 'state', 'message'),
    [
        ({'a': {'b': 1}}, {'a': {'c': 1}}, r"\./a: .*the dict lacks 'b' and has 'c' besides"),
        ({'kernel': 1}, {'kernal': 1}, r"(.|\n)*Did you mean 'kernel'\?"),
        ({'a': [1, 2]}, {'a': {'0': 1}}, r"\./a: .*the list of 2 lacks '1'"),
        ([1], {'0': 1, '1': 2}, r"\.: .*the list of 1 has '1' besides"),
        ((1, 2), {0: 1, 1: 2}, r'the tuple of 2 lacks'),
        ([1], [1], r'the state of the list of 1 is the list \[1\], and not a state dict'),
        ({'a': Pair(1, 2)}, {'a': {'first': 1}}, r"\./a: .*the Pair lacks 'second'"),
        ({'a': Pair(1, 2)}, {'a': np.ones(2)}, r'\./a: .*Pair is an array of shape \(2,\)'),
        (FrozenDict(a=FrozenDict(b=1)), {'a': None}, r'\./a: the state of the FrozenDict is None'),
        (jax.tree_util.Partial(max, 1), {'args': {'0': 1}}, "the Partial lacks 'keywords'"),
        (jax.tree_util.Partial(max, 1), {'args': {}, 'keywords': {}}, r'\./args: .*lacks'),
    ],
)
def test_a_state_that_does_not_fit_is_an_error_that_names_the_place(target, state, message):
    with pytest.raises(StateDictError, match=message):
        from_state_dict(target, state)
    assert serialization.current_path() == ''


def test_the_name_of_the_root_begins_the_path():
    with pytest.raises(StateDictError, match='model/a: '):
        from_state_dict({'a': [1]}, {'a': {}}, name='model')


def test_entries_that_a_dict_does_not_have_are_left_out_with_a_warning():
    with pytest.warns(SharpBitWarning, match=r"\./a: .*the dict has 'lora' besides, left out"):
        assert from_state_dict({'a': {'b': 0}}, {'a': {'b': 1, 'lora': 2}}) == {'a': {'b': 1}}


def test_a_type_is_registered_once_unless_it_is_overridden():
    class Box:
        def __init__(self, value):
            self.value = value

    paths = []

    def restore(box, state):
        paths.append(serialization.current_path())
        return Box(state['value'])

    serialization.register_serialization_state(Box, lambda box: {'value': box.value}, restore)
    assert to_state_dict({'q': [Box(1)]}) == {'q': {'0': {'value': 1}}}
    assert from_state_dict({'q': [Box(1)]}, {'q': {'0': {'value': 5}}})['q'][0].value == 5
    assert paths == ['./q/0']
    assert serialization.is_serializable(Box(1))
    assert serialization.is_serializable(Box)
    with pytest.raises(SerializationError, match=r'Box is registered already(.|\n)*override=True'):
        serialization.register_serialization_state(Box, None, None)
    serialization.register_serialization_state(Box, lambda box: {1: 2}, restore, override=True)
    with pytest.raises(StateDictError, match=r'of a Box has the keys \[1\]'):
        to_state_dict([Box(1)])
    assert not serialization.is_serializable(3)
    assert not serialization.is_serializable(Pair(1, 2))


def test_keys_that_are_the_same_as_strings_are_an_error():
    with pytest.raises(StateDictError, match="'1', '1'"):
        to_state_dict({1: 2, '1': 3})


def test_each_thread_has_a_path_of_its_own():
    seen = []

    class Meeting:
        pass

    def restore(target, state):
        seen.append(serialization.current_path())
        thread = threading.Thread(target=lambda: seen.append(serialization.current_path()))
        thread.start()
        thread.join()
        return target

    serialization.register_serialization_state(Meeting, lambda x: {}, restore)
    from_state_dict({'a': Meeting()}, {'a': {}})
    assert seen == ['./a', '']


# Bytes of good trees.


def same_array(a, b):
    assert (type(a), a.dtype, a.shape) == (type(b), b.dtype, b.shape)
    assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('shape', [(2, 3), (), (0, 3), (1,)], ids=str)
def test_an_array_comes_back_in_its_dtype_and_shape(dtype, shape):
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    same_array(msgpack_restore(msgpack_serialize(array)), array)


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
def test_a_numpy_scalar_comes_back_as_one(dtype):
    scalar = dtype.type(1)
    restored = msgpack_restore(msgpack_serialize({'a': scalar}))['a']
    assert type(restored) is type(scalar)
    same_array(np.asarray(restored), np.asarray(scalar))


def test_the_bytes_are_those_of_the_format():
    inner = b'\x93' + b'\x92\x02\x01' + b'\xa5int16' + b'\xc4\x04\x01\x00\x02\x00'
    array = np.array([[1], [2]], np.int16)
    assert msgpack_serialize({'a': array}) == b'\x81\xa1a' + b'\xd8\x01' + inner
    assert msgpack_serialize(np.int8(1)) == b'\xc7\x0a\x03\x93\x90\xa4int8\xc4\x01\x01'
    assert msgpack_serialize(1 + 2j) == b'\xc7\x13\x02\x92' + struct.pack('>BdBd', 203, 1, 203, 2)


@pytest.mark.parametrize(
    'tree',
    [
        None, True, 0, -1, 127, 128, -32, -33, 2**16, -(2**15), 2**32, -(2**31), 2**63, -(2**63),
        2**64 - 1, 1.5, float('inf'), 1 + 2j, '', 'a' * 40, 'ü' * 300, 'a' * 70000, b'', b'a' * 300,
        b'a' * 70000, [], list(range(20)), list(range(70000)), {}, {str(i): i for i in range(20)},
        {str(i): i for i in range(70000)}, {1: 2, None: 3, 1.5: 4, b'k': 5}, [1, [{'a': []}]],
    ],
    ids=lambda tree: repr(tree)[:20],
)  # fmt: skip
def test_plain_values_come_back(tree):
    encoded = msgpack_serialize(tree, in_place=True)
    assert encoded == msgpack.packb(tree, default=serialization._msgpack_ext_pack)
    for data in (encoded, bytearray(encoded), memoryview(encoded)):
        restored = msgpack_restore(data)
        assert restored == tree
        assert type(restored) is type(tree)


def test_other_buffers_come_back_as_bytes_and_float32_of_others_is_read():
    assert msgpack_restore(msgpack_serialize([bytearray(b'ab'), memoryview(b'c')])) == [b'ab', b'c']
    assert msgpack_restore(msgpack.packb(1.5, use_single_float=True)) == 1.5


def test_big_arrays_use_every_size_of_extension():
    for size in (1, 3, 11, 300, 70000):
        array = np.arange(size, dtype=np.uint8)
        same_array(msgpack_restore(msgpack_serialize(array)), array)
    for size in (1, 2, 4, 8, 16):
        with pytest.raises(SerializationError, match='no extension type of code 9'):
            msgpack_restore(msgpack.packb(msgpack.ExtType(9, b'x' * size)))


def test_items_are_written_by_sorted_key_unless_in_place():
    tree = {'b': {'z': 1, 'c': 2}, 'a': [{'y': 1, 'x': 2}]}
    restored = msgpack_restore(msgpack_serialize(tree))
    assert [list(restored), list(restored['b']), list(restored['a'][0])] == [
        ['a', 'b'], ['c', 'z'], ['x', 'y'],
    ]  # fmt: skip
    assert list(msgpack_restore(msgpack_serialize(tree, in_place=True))) == ['b', 'a']
    assert list(msgpack_restore(to_bytes(tree))) == ['b', 'a']
    assert list(tree) == ['b', 'a']


def test_layout_and_byte_order_of_an_array_do_not_matter():
    array = np.arange(6, dtype=np.int32).reshape(2, 3)
    encoded = msgpack_serialize(array)
    assert msgpack_serialize(np.asfortranarray(array)) == encoded
    assert msgpack_serialize(np.arange(12, dtype=np.int32)[::2].reshape(2, 3) // 2) == encoded
    assert msgpack_serialize(array.astype('>i4')) == encoded
    assert msgpack_serialize(jnp.asarray(array)) == encoded


def test_large_arrays_are_written_in_flat_pieces(small_chunks):
    array = np.arange(10, dtype=np.int32).reshape(2, 5)
    tree = {'x': array, 'y': {'z': np.asfortranarray(array)}, 'small': np.arange(4, dtype=np.int32)}
    encoded = msgpack_serialize(tree)
    pieces = msgpack.unpackb(encoded, ext_hook=serialization._msgpack_ext_unpack)['y']['z']
    assert pieces[CHUNKED] is True
    assert pieces['shape'] == {'0': 2, '1': 5}
    assert [list(chunk) for chunk in pieces['chunks'].values()] == [
        [0, 1, 2, 3], [4, 5, 6, 7], [8, 9],
    ]  # fmt: skip
    restored = msgpack_restore(encoded)
    same_array(restored['x'], array)
    same_array(restored['y']['z'], array)
    same_array(restored['small'], tree['small'])
    assert tree['x'] is array
    same_array(msgpack_restore(msgpack_serialize(array)), array)
    same_array(from_bytes({'x': None}, to_bytes({'x': jnp.asarray(array)}))['x'], array)


def test_inside_lists_arrays_are_written_whole(small_chunks):
    array = np.arange(10)
    encoded = msgpack_serialize({'a': [{'b': array}, array], 'c': 1})
    assert CHUNKED.encode() not in encoded
    same_array(msgpack_restore(encoded)['a'][0]['b'], array)
    assert CHUNKED.encode() in msgpack_serialize({'a': [1], 'b': array})


def test_an_item_larger_than_a_chunk_is_a_piece_of_its_own(monkeypatch):
    monkeypatch.setattr(serialization, 'MAX_CHUNK_SIZE', 2)
    same_array(msgpack_restore(msgpack_serialize(np.arange(3.0))), np.arange(3.0))


def test_the_state_of_an_optimiser_comes_back():
    params = {'w': jnp.arange(3.0), 'b': FrozenDict(c=jnp.ones(1, jnp.bfloat16))}
    tx = optax.chain(
        optax.clip(1.0),
        optax.inject_hyperparams(optax.adam)(optax.linear_schedule(1.0, 0.0, 3)),
        optax.masked(optax.trace(0.9), {'w': True, 'b': False}),
    )
    state = tx.update(params, tx.init(params), params)[1]
    fresh = tx.init(params)
    restored = from_bytes(fresh, to_bytes(state))
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for ours, theirs in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True):
        same_array(ours, np.asarray(theirs))


def test_bytes_may_be_restored_without_a_target():
    assert from_bytes(None, to_bytes({'a': [1, (2, 3)]})) == {'a': {'0': 1, '1': {'0': 2, '1': 3}}}


# Trees that have no bytes.


class Unknown:
    pass


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        (Unknown(), 'Unknown has no form'),
        ({1, 2}, 'set has no form'),
        ((1, 2), r'tuple has no form(.|\n)*to_state_dict'),
        (FrozenDict(a=1), 'FrozenDict has no form'),
        (collections.OrderedDict(a=1), r'OrderedDict has no form(.|\n)*plain dict'),
        (2**64, 'does not fit into 64 bits'),
        (np.array([object()]), 'dtype object has no form'),
        (np.array(['a']), 'dtype <U1 has no form'),
        (np.zeros(1, 'M8[s]'), r'dtype datetime64\[s\] has no form'),
        (np.zeros(2, [('a', 'i4')]), 'has no form'),
        (np.str_('a'), 'dtype <U1 has no form'),
        ({(1, 2): 3}, r'key \(1, 2\) of type tuple'),
        ({'a': 1, 2: 3}, 'cannot be sorted'),
        ('\ud800', 'surrogates not allowed'),
    ],
)
def test_a_value_without_bytes_is_an_error_that_names_the_place(value, message):
    with pytest.raises(SerializationError, match=message) as caught:
        msgpack_serialize({'a': [0, value]})
    assert message == 'surrogates not allowed' or caught.value.where == './a/1'


def test_a_typed_random_key_is_refused_and_the_mend_is_named():
    with pytest.raises(SerializationError, match=r'\./rng: (.|\n)*jax\.random\.key_data'):
        to_bytes({'rng': jax.random.key(0)})
    data = jax.random.key_data(jax.random.key(3))
    restored = from_bytes({'rng': None}, to_bytes({'rng': data}))['rng']
    assert jax.random.wrap_key_data(restored) == jax.random.key(3)


def test_a_traced_array_is_refused():
    with pytest.raises(SerializationError, match=r'\./x: an array is being traced'):
        jax.make_jaxpr(lambda x: to_bytes({'x': x}) and x)(jnp.ones(2))


def test_an_array_of_other_processes_is_refused(monkeypatch):
    array = jnp.ones((2, 3))
    kind = type(array)
    monkeypatch.setattr(kind, 'is_fully_addressable', property(lambda self: False))
    monkeypatch.setattr(kind, 'is_fully_replicated', property(lambda self: False))
    with pytest.raises(SerializationError, match=r'\./x: (.|\n)*process_allgather'):
        to_bytes({'x': array})


def nested(depth):
    tree = {'leaf': 1}
    for _ in range(depth):
        tree = {'a': tree}
    return tree


def test_depth_is_limited_both_ways():
    assert msgpack_restore(msgpack_serialize(nested(200))) == nested(200)
    with pytest.raises(SerializationError, match=r'\./a/a/a/a/a/a/\.\.\./a(.|\n)*300 levels deep'):
        msgpack_serialize(nested(400))
    with pytest.raises(SerializationError, match='300 levels deep'):
        msgpack_restore(msgpack.packb(nested(400)))
    with pytest.raises(SerializationError, match='300 levels deep'):
        msgpack_restore(b'\x91' * 100_000)


def at_depth(frames, function):
    return function() if frames == 0 else at_depth(frames - 1, function)


def test_a_full_stack_is_a_clear_error(monkeypatch):
    encoded = msgpack_serialize(nested(250))
    with pytest.raises(SerializationError, match='nested too deeply to be read here'):
        at_depth(800, lambda: msgpack_restore(encoded))
    with pytest.raises(SerializationError, match='recursion depth'):
        at_depth(800, lambda: msgpack_serialize(nested(250)))


# Bytes that nobody wrote.


def extension(code, *fields):
    return msgpack.ExtType(code, msgpack.packb(list(fields)))


def chunked(shape, chunks, **other):
    pieces = {CHUNKED: True, 'shape': shape, 'chunks': chunks, **other}
    return {key: value for key, value in pieces.items() if value is not None}


FLAT = extension(1, [2], 'int8', b'ab')
BAD_LEAVES = {
    'too few bytes': (extension(1, [2, 3], 'float32', b'abc'), 'takes 24 bytes, but comes with 3'),
    'too many bytes': (extension(1, [1], 'int8', b'abc'), 'takes 1 bytes, but comes with 3'),
    'claimed size': (extension(1, [2**40], 'int8', b''), 'takes 1099511627776 bytes'),
    'overflowing': (extension(1, [2**62, 2**62], 'float64', b''), 'but comes with 0'),
    'empty and endless': (extension(1, [0, 2**62, 2**62], 'int8', b''), 'NumPy has no arrays'),
    'many axes': (extension(1, [1] * 65, 'int8', b'a'), 'exceeds max_array'),
    'negative axis': (extension(1, [-1], 'int8', b''), r'impossible shape \[-1\]'),
    'axis true': (extension(1, [True], 'int8', b'a'), r'impossible shape \[True\]'),
    'axis of text': (extension(1, ['a'], 'int8', b''), 'impossible shape'),
    'object dtype': (extension(1, [1], 'object', b'abcdefgh'), "dtype 'object'"),
    'text dtype': (extension(1, [1], 'str32', b'abcd'), "dtype 'str32'(.|\n)*numeric"),
    'dtype program': (extension(1, [1], 'i4,O', b'a' * 12), "dtype 'i4,O'"),
    'date dtype': (extension(1, [1], 'datetime64[D]', b'a' * 8), 'datetime64'),
    'unknown dtype': (extension(1, [1], 'float7', b'a'), "dtype 'float7'"),
    'dtype number': (
        extension(1, [1], 3, b'a'),
        "an array is written as .*'list'.*'int'.*instead of .*'str'",
    ),
    'raw is text': (extension(1, [1], 'int8', 'a'), 'an array is written as'),
    'shape is a number': (extension(1, 1, 'int8', b'a'), 'an array is written as'),
    'two fields': (extension(1, [1], 'int8'), 'an array is written as'),
    'no list': (msgpack.ExtType(1, b'\x05'), "an array is written as <class 'int'> instead of"),
    'nothing': (msgpack.ExtType(1, b''), 'not written as one: .*incomplete'),
    'more behind': (msgpack.ExtType(1, FLAT.data + b'\x01'), 'extra data'),
    'array scalar': (extension(3, [1], 'int8', b'a'), r'a scalar has the shape \(1,\)'),
    'complex of one': (extension(2, 1.0), 'a complex number is written as'),
    'complex of text': (extension(2, 1.0, 'a'), 'a complex number is written as'),
    'unknown code': (msgpack.ExtType(7, b'a'), 'no extension type of code 7'),
    'time stamp': (msgpack.Timestamp(1), 'no extension type of code -1'),
    'extension inside': (extension(1, [1], 'int8', FLAT), 'not written as one: .*exceeds max_ext'),
    'deep inside': (extension(1, [[[1]]], 'int8', b'a'), 'impossible shape'),
    'deeper inside': (msgpack.ExtType(1, b'\x91' * 5000), 'not written as one'),
    'map inside': (extension(1, [1], 'int8', {1: 2}), 'not written as one: .*exceeds max_map'),
    'no shape': (chunked(None, {'0': FLAT}), "no dict 'shape'"),
    'shape list': (chunked([2], {'0': FLAT}), "no dict 'shape'"),
    'shape keys': (chunked({'1': 2}, {'0': FLAT}), "no dict 'shape'"),
    'shape values': (chunked({'0': 'a'}, {'0': FLAT}), 'split array has the impossible shape'),
    'no chunks': (chunked({'0': 2}, None), "no dict 'chunks'"),
    'empty chunks': (chunked({'0': 2}, {}), 'pieces that are no arrays'),
    'chunks of numbers': (chunked({'0': 2}, {'0': 3}), 'pieces that are no arrays'),
    'chunks too short': (chunked({'0': 2**50}, {'0': FLAT}), r'sizes \[2\]'),
    'chunks of two dtypes': (
        chunked({'0': 4}, {'0': FLAT, '1': extension(1, [2], 'uint8', b'ab')}),
        "dtypes .*'int8', 'uint8'",
    ),
    'chunks of two axes': (chunked({'0': 2}, {'0': extension(1, [1, 2], 'int8', b'ab')}), 'flat'),
}


@pytest.mark.parametrize('name', BAD_LEAVES)
def test_a_bad_leaf_is_an_error_that_names_the_place(name):
    leaf, message = BAD_LEAVES[name]
    with pytest.raises(SerializationError, match=message) as caught:
        msgpack_restore(msgpack.packb({'params': [0, {'w': leaf}]}))
    assert caught.value.where == './params/1/w'


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        (b'', 'truncated: 1 are wanted at 0, 0 are left'),
        (b'\xc1', 'byte 0xc1 at 0 begins nothing'),
        (b'\x01\x02', '1 bytes follow'),
        (b'\xa5ab', 'truncated: 5 are wanted at 1, 2 are left'),
        (b'\xa1\xff', 'not valid UTF-8'),
        (b'\xdd\xff\xff\xff\xff', '4294967295 items are announced, 0 bytes are left'),
        (b'\xdf\x00\x00\x00\x02\x01\x02', '2 items are announced, 2 bytes'),
        (b'\xdb\xff\xff\xff\xff', '4294967295 are wanted'),
        (b'\xc6\xff\xff\xff\xff', '4294967295 are wanted'),
        (b'\xc9\xff\xff\xff\xff\x01', '4294967295 are wanted'),
        (b'\xcf\x00', '8 are wanted'),
        (b'\x81\x80\x01', 'a dict has a dict as key'),
        (b'\x81\x90\x01', 'a dict has a list as key'),
        (b'\x82\xa1a\x01\xa1a\x02', "the key 'a' twice"),
    ],
)  # fmt: skip
def test_bytes_of_no_tree_are_an_error(data, message):
    with pytest.raises(SerializationError, match=message):
        msgpack_restore(data)


def test_a_truncated_file_is_an_error_that_names_the_place():
    tree = {'params': {'kernel': np.arange(6.0), 'note': 'text'}, 'step': 2**20}
    encoded = msgpack_serialize(tree)
    for size in range(len(encoded)):
        with pytest.raises(SerializationError, match='truncated'):
            msgpack_restore(encoded[:size])
    with pytest.raises(SerializationError, match=r'\./params/kernel: .*truncated'):
        msgpack_restore(encoded[:40])


def test_only_bytes_are_read():
    with pytest.raises(SerializationError, match=r"not from a str(.|\n)*open\(path, 'rb'\)"):
        msgpack_restore('text')


def test_the_functions_for_extensions_work_with_msgpack_itself():
    tree = {'a': np.arange(2), 'b': [np.float32(1), 1j]}
    encoded = msgpack.packb(tree, default=serialization._msgpack_ext_pack, strict_types=True)
    assert encoded == msgpack_serialize(tree)
    restored = msgpack.unpackb(encoded, ext_hook=serialization._msgpack_ext_unpack)
    assert restored['b'] == tree['b']
    same_array(restored['a'], tree['a'])
    assert serialization._msgpack_ext_pack(3) == 3
    packed = serialization._msgpack_ext_pack(jnp.ones(2))
    assert packed == serialization._msgpack_ext_pack(np.ones(2, np.float32))


# Drawn trees and drawn bytes.

arrays = st.builds(
    lambda dtype, shape, seed: np.random.default_rng(seed).integers(0, 2, shape).astype(dtype),
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 3), max_size=3).map(tuple),
    st.integers(0, 9),
)
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False),
    st.complex_numbers(allow_nan=False), st.text(max_size=5), st.binary(max_size=5), arrays,
    st.sampled_from(DTYPES).map(lambda dtype: dtype.type(1)),
)  # fmt: skip
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def assert_same(a, b):
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, np.ndarray | np.generic):
        same_array(np.asarray(a), np.asarray(b))
    else:
        assert a == b


@given(trees)
def test_drawn_trees_come_back(tree):
    assert_same(msgpack_restore(msgpack_serialize(tree, in_place=True)), tree)


@given(trees, st.data())
def test_damaged_bytes_are_read_or_refused_and_nothing_else(tree, data):
    encoded = bytearray(msgpack_serialize(tree))
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(encoded) - 1))
        encoded[position] = data.draw(st.integers(0, 255))
    with contextlib.suppress(SerializationError):
        msgpack_restore(bytes(encoded))


@given(st.binary(max_size=60))
def test_drawn_bytes_are_read_or_refused_and_nothing_else(data):
    with contextlib.suppress(SerializationError):
        msgpack_restore(data)


@given(trees, trees)
def test_a_drawn_state_is_taken_or_refused_and_nothing_else(target, state):
    with (
        warnings.catch_warnings(action='ignore', category=SharpBitWarning),
        contextlib.suppress(StateDictError),
    ):
        from_state_dict(target, to_state_dict(state))
