"""A scan whose products of inputs are taken before the loop computes what ``lax.scan`` does."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from linnet.core import hoisting

KEYS = jax.random.split(jax.random.key(0), 8)
X = jax.random.normal(KEYS[0], (5, 2, 3))
W, U = jax.random.normal(KEYS[1], (3, 4)), jax.random.normal(KEYS[2], (4, 4))
H = jax.random.normal(KEYS[3], (2, 4))


def recurrent(h, x):
    h = jnp.tanh(x @ W + h @ U)
    return h, h


def twice(h, x):
    y = jax.nn.relu(x @ W) @ U  # a product of a product
    return h + y, {'sum': h.sum(), 'product': y}


def unused(h, x):
    _ = x @ W
    return h, x.sum()


def of_the_product_alone(h, x):
    return h, x @ W


def jitted_inside(h, x):
    return jax.jit(lambda h, x: jnp.tanh(x @ W + h))(h, x), x


def squared(h, x):
    gram = x @ x.T  # both factors are slices
    return h + gram @ h, gram


def normal_each(h, x):
    noise = jax.random.normal(x['key'], (2, 3))
    return h + (noise + x['x']) @ W, noise.sum()


BODIES = {
    'recurrent': (recurrent, X, 1),
    'twice': (twice, X, 2),
    'unused': (unused, X, 0),
    'of the product alone': (of_the_product_alone, X, 1),
    'jitted inside': (jitted_inside, X, 0),
    'squared': (squared, X, 1),
    'keys': (normal_each, {'key': jax.random.split(KEYS[4], 5), 'x': X}, 0),
}


def products_outside(fn, *args) -> int:
    return [e.primitive.name for e in jax.make_jaxpr(fn)(*args).eqns].count('dot_general')


@pytest.mark.parametrize('options', [{}, {'reverse': True}, {'unroll': 2}], ids=str)
@pytest.mark.parametrize('name', BODIES)
def test_it_computes_what_lax_scan_does(name, options):
    body, xs, _ = BODIES[name]
    wanted = lax.scan(body, H, xs, **options)
    ours = hoisting.scan(body, H, xs, **options)
    assert jax.tree.structure(ours) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(wanted), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('name', BODIES)
def test_what_leaves_the_loop(name):
    body, xs, n = BODIES[name]
    assert products_outside(lambda h, xs: hoisting.scan(body, h, xs), H, xs) == n
    assert products_outside(lambda h, xs: lax.scan(body, h, xs), H, xs) == 0


@pytest.mark.parametrize('name', ['recurrent', 'twice', 'squared'])
def test_gradients(name):
    body, xs, _ = BODIES[name]

    def loss(scan, h, x):
        carry, ys = scan(body, h, x)
        return jnp.sum(carry**2) + sum(jnp.sum(y) for y in jax.tree.leaves(ys))

    ours, wanted = (
        jax.jit(jax.grad(lambda h, x, scan=scan: loss(scan, h, x), (0, 1)))(H, xs)
        for scan in (hoisting.scan, lax.scan)
    )
    for a, b in zip(ours, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-5)


def test_under_vmap_and_in_a_program():
    xs = jnp.stack([X, 2 * X])
    many = jax.jit(jax.vmap(lambda x: hoisting.scan(recurrent, H, x)))
    np.testing.assert_allclose(
        many(xs)[1], jax.vmap(lambda x: lax.scan(recurrent, H, x))(xs)[1], rtol=1e-5
    )


def test_the_body_is_traced_once():
    seen = []

    def body(h, x):
        seen.append(x)
        return recurrent(h, x)

    hoisting.scan(body, H, X)
    assert len(seen) == 1


def test_effects_keep_everything_in_the_loop():
    printed = []

    def body(h, x):
        jax.debug.callback(lambda s: printed.append(float(s)), x.sum(), ordered=True)
        return recurrent(h, x)

    run = jax.jit(lambda h, x: hoisting.scan(body, h, x))
    assert products_outside(run, H, X) == 0
    np.testing.assert_allclose(run(H, X)[0], lax.scan(recurrent, H, X)[0], rtol=1e-5)
    jax.effects_barrier()
    np.testing.assert_allclose(printed, X.sum((1, 2)), rtol=1e-5)


def test_no_slices_and_no_steps():
    count, _ = hoisting.scan(lambda c, _: (c + 1, None), jnp.zeros(()), None, length=4)
    assert count == 4
    carry, ys = hoisting.scan(recurrent, H, X[:0])
    assert (carry == H).all()
    assert ys.shape == (0, 2, 4)


def test_loops_of_an_open_carry_under_a_mesh_and_in_named_axes_stay_as_they_are():
    body = lambda c, x: (c + (x @ W).sum(), None)  # noqa: E731
    open_type = jax.jit(lambda x: hoisting.scan(body, 0.0, x)[0])
    np.testing.assert_allclose(open_type(X), lax.scan(body, 0.0, X)[0], rtol=1e-5)
    assert products_outside(lambda x: hoisting.scan(body, 0.0, x), X) == 0
    with jax.set_mesh(jax.make_mesh((1,), ('i',))):
        assert products_outside(lambda h, x: hoisting.scan(recurrent, h, x), H, X) == 0
    summed = jax.vmap(
        lambda x: hoisting.scan(lambda h, x: (h + lax.psum(x @ W, 'i'), None), H, x)[0],
        axis_name='i',
    )
    xs = jnp.stack([X, X])
    np.testing.assert_allclose(summed(xs)[0], H + 2 * (X @ W).sum(0), rtol=1e-4)
