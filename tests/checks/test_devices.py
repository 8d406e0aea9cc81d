"""On several devices: values are watched, and replicas that share a key are found."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import linnet.linen as nn
from linnet.checks import sanitize
from tests import devices

NET = nn.Dropout(0.5, deterministic=False)
X = jnp.arange(16.0).reshape(8, 2)


def run(x, key):
    return NET.apply({}, x, rngs={'dropout': key})


def spread(fn, *args, specs):
    mesh = jax.make_mesh((8,), ('d',), axis_types=(jax.sharding.AxisType.Auto,))
    return jax.jit(jax.shard_map(fn, mesh=mesh, in_specs=specs, out_specs=P('d')))(*args)


def check_replicas_with_one_key():
    with sanitize(show=False) as report:
        spread(run, X, jax.random.key(0), specs=(P('d'), P()))
    assert report.codes == ['LN814'], report.table()
    assert "jax.lax.axis_index('d')" in report.findings[0].finding.mend


def check_replicas_with_a_key_of_their_own():
    def own(x, key):
        return run(x, jax.random.fold_in(key, jax.lax.axis_index('d')))

    with sanitize(show=False) as report:
        spread(own, X, jax.random.key(0), specs=(P('d'), P()))
    assert report.codes == [], report.table()


def check_a_sharded_batch():
    mesh = jax.make_mesh((8,), ('d',), axis_types=(jax.sharding.AxisType.Auto,))
    net = nn.Sequential([nn.Dense(2), nn.Dropout(0.5, deterministic=False)])
    params = nn.Sequential([nn.Dense(2)]).init(jax.random.key(1), X)
    x = jax.device_put(X, NamedSharding(mesh, P('d')))
    step = jax.jit(jax.grad(lambda p, x, key: net.apply(p, x, rngs={'dropout': key}).sum()))
    with sanitize(show=False) as report:
        for i in range(2):
            step(params, x, jax.random.key(i))
    assert report.codes == [], report.table()
    with sanitize(show=False) as report:
        step(params, x.at[0, 0].set(jnp.nan), jax.random.key(2))
    assert report.codes == ['LN828', 'LN861'], report.table()


CHECKS = devices.checks_in(globals())


@pytest.fixture(scope='module')
def results():
    return devices.run_checks(__name__)


@pytest.mark.parametrize('name', CHECKS)
def test_on_eight_devices(name, results):
    assert results[name] == ''
