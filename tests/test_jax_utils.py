"""Functions around JAX's transforms: what is refused, and on eight devices what does not divide."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linnet import jax_utils
from linnet.errors import DeviceBatchError, ToolArgumentError
from linnet.training import common_utils
from tests.devices import checks_in, run_checks


def refused(error: type[Exception], words: str, function: Any, *args: Any, **kwargs: Any) -> None:
    with pytest.raises(error, match=words):
        function(*args, **kwargs)


# On one device


def test_copies_go_to_one_device_and_back():
    tree = {'w': np.ones(3), 'n': 1}
    copies = jax_utils.replicate(tree)
    assert jax.tree.map(jnp.shape, copies) == {'w': (1, 3), 'n': (1,)}
    np.testing.assert_array_equal(jax_utils.unreplicate(copies)['w'], tree['w'])


@pytest.mark.parametrize('x', [3, 'text', np.float32(1), jnp.ones((0, 2)), [[1, 2]]])
def test_only_arrays_over_devices_have_a_first_copy(x):
    refused(DeviceBatchError, 'no leading axis over devices', jax_utils.unreplicate, x)


@pytest.mark.parametrize('size', [0, -1, None, 1.5])
def test_prefetching_nothing_is_refused_at_once(size):
    refused(ToolArgumentError, 'size is', jax_utils.prefetch_to_device, iter([]), size)


@pytest.mark.parametrize('batch', [3, np.float32(1), [[1, 2], 3]])
def test_batches_are_arrays(batch):
    batches = jax_utils.prefetch_to_device([{'x': batch}], 2)
    refused(DeviceBatchError, 'the array /x', next, batches)


@pytest.mark.parametrize('spec', [3, [3], [(2, 3), jnp.int32], (3, 4)])
def test_specifications_are_shapes(spec):
    function = lambda *xs: xs  # noqa: E731
    words = 'is not iterable' if spec == 3 else 'neither a shape nor a pair'
    error = TypeError if spec == 3 else ToolArgumentError
    refused(error, words, jax_utils.partial_eval_by_shape, function, spec)


def test_a_shape_may_have_two_or_no_axes():
    shapes = jax_utils.partial_eval_by_shape(lambda *xs: xs, [(2, 3), (), ((), jnp.int8)])
    assert [(x.shape, x.dtype) for x in shapes] == [
        ((2, 3), jnp.float32),
        ((), jnp.float32),
        ((), jnp.int8),
    ]


def scan(*args: Any, **kwargs: Any) -> Any:
    return jax_utils.scan_in_dim(lambda carry, x: (carry, x), 0.0, *args, **kwargs)


@pytest.mark.parametrize('axis', [3, -4, (0, 0), (0, -3)])
def test_axes_to_scan_over_are_there_once(axis):
    xs = {'x': jnp.ones((2, 3, 4))}
    refused(ToolArgumentError, 'the array /x with 3 axes', scan, xs, axis=axis)


def test_something_is_scanned_over():
    for xs, axis in ((None, 0), ({}, (0,)), (jnp.ones(3), ())):
        refused(ToolArgumentError, 'no axes or no arrays', scan, xs, axis=axis)
    assert scan(jnp.ones((2, 3)), axis=[1])[1].shape == (2, 3)


def test_results_of_a_scan_have_the_axes_too():
    xs = jnp.ones((2, 3))
    body = lambda carry, x: (carry, jnp.ones((2, 3)))  # noqa: E731
    run = jax_utils.scan_in_dim
    refused(ToolArgumentError, r'\(2, 3\), and not 1 along', run, body, 0.0, xs, keepdims=True)
    body = lambda carry, x: (carry, x.sum())  # noqa: E731
    refused(ToolArgumentError, 'the array with 1 axes', run, body, 0.0, xs, axis=1)


def test_functions_of_batches_want_one_size():
    run = jax_utils.pad_shard_unpad(lambda *args, **kwargs: args[0])
    words = 'no one size of batch: the array /0: 6, the array /1: 5'
    refused(DeviceBatchError, words, run, 1.0, np.ones(6), np.ones(5))
    refused(DeviceBatchError, 'there are none', run, 1.0)
    refused(DeviceBatchError, 'the array /0: None', run, 1.0, 2.0)
    refused(DeviceBatchError, 'the array /0: 6, the array /1: None', run, 1.0, np.ones(6), y=2.0)


def test_positions_and_names_may_be_single_or_count_from_the_end():
    last = jax_utils.pad_shard_unpad(lambda x, params: x, static_argnums=(-1,))
    np.testing.assert_array_equal(last(np.arange(3.0), 'params'), np.arange(3.0))
    named = jax_utils.pad_shard_unpad(lambda p, x, k: x, static_argnums=0, static_argnames='k')
    np.testing.assert_array_equal(named('params', np.arange(3.0), k=3), np.arange(3.0))
    assert named.__name__ == '<lambda>'


def test_functions_of_batches_return_batches():
    for result in (np.float32(1), np.ones(3), np.ones((2, 1))):
        run = jax_utils.pad_shard_unpad(lambda x, result=result: {'r': result}, static_argnums=())
        refused(DeviceBatchError, 'the array /r of the result', run, np.ones(3))


def test_metrics_are_stacked_only_if_they_are_alike():
    stack = common_utils.stack_forest
    refused(ToolArgumentError, 'no trees', stack, [])
    refused(ToolArgumentError, 'different structures', stack, [{'a': 1}, {'b': 1}])
    refused(ToolArgumentError, '/a has different shapes', stack, [{'a': 1}, {'a': np.ones(2)}])


def test_metrics_that_are_not_replicated_are_told_apart():
    read = common_utils.get_metrics
    refused(DeviceBatchError, '/loss is an array .* not on devices', read, [{'loss': np.ones(1)}])
    refused(DeviceBatchError, r'shape \(\)', read, [{'loss': jnp.float32(1)}])
    refused(DeviceBatchError, r'shape \(3,\)', read, [{'loss': jnp.ones(3)}])
    refused(ToolArgumentError, 'no trees', read, [])
    refused(DeviceBatchError, 'whose leading axis', common_utils.shard, np.float32(1))


def test_labels_are_anything_that_is_an_array():
    for label in (1, [1], np.array([1])):
        expected = np.broadcast_to(np.float32([0, 1, 0]), (*np.shape(label), 3))
        np.testing.assert_array_equal(common_utils.onehot(label, 3), expected)
    assert common_utils.onehot([1], 3, on_value=jnp.bfloat16(1)).dtype == jnp.float32


# On eight devices


def check_a_batch_that_does_not_divide_is_refused():
    batch = {'x': np.ones((12, 2))}
    words = r'/x has the shape \(12, 2\), whose leading axis does not divide by the 8 devices'
    refused(DeviceBatchError, words, common_utils.shard, batch)
    batches = jax_utils.prefetch_to_device([batch], 1)
    refused(DeviceBatchError, 'must divide by the 8 devices', next, batches)


def check_an_array_with_several_rows_on_a_device_is_no_copy():
    sharding = jax_utils.replicate(0).sharding
    rows = jax.device_put(jnp.arange(16.0), sharding)
    refused(DeviceBatchError, r'has \(2,\) on a device', jax_utils.unreplicate, {'a': rows})
    refused(DeviceBatchError, r'has \(2,\) on a device', common_utils.get_metrics, [rows])


def check_copies_on_one_of_several_devices_come_back():
    device = jax.devices()[3]
    copy = jax_utils.replicate(jnp.arange(3.0), [device])
    first = jax_utils.unreplicate(copy)
    assert (first.shape, first.devices()) == ((3,), {device})


def check_each_device_has_its_copy():
    copies = jax_utils.replicate({'w': jnp.arange(3.0)})['w']
    assert [shard.data.shape for shard in copies.addressable_shards] == [(1, 3)] * 8
    assert [shard.device for shard in copies.addressable_shards] == jax.local_devices()


def check_a_failing_reader_fails_in_its_turn():
    def batches():
        yield np.ones((8, 1))
        raise RuntimeError('no more')

    prefetched = jax_utils.prefetch_to_device(batches(), 1)
    next(prefetched)
    refused(RuntimeError, 'no more', next, prefetched)


@pytest.fixture(scope='module')
def outcomes():
    return run_checks('tests.test_jax_utils')


@pytest.mark.parametrize('check', checks_in(globals()))
def test_on_eight_devices(check, outcomes):
    assert not outcomes[check], outcomes[check]
