"""Models by the variables and streams they use: state, sown values, counters, boxes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from tests.parity.models import X, model


def _noise(nn: Any) -> Any:
    """A class that adds noise drawn from a stream of its own."""

    class Noise(nn.Module):
        stream: str = 'noise'

        @nn.compact
        def __call__(self, x):
            return x + jax.random.normal(self.make_rng(self.stream), x.shape)

    return Noise


@model(X)
def sow_default(nn: Any) -> Any:
    """Sown values gather in tuples, one entry for each call."""

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x):
            y = nn.Dense(4)(x)
            stored = self.sow('intermediates', 'h', y)
            return y, stored

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            block = Block()
            (y, first), (z, second) = block(x), block(x + 1)
            return y + z, first, second

    return Net()


@model(X, mutable=['losses', 'intermediates'])
def sow_with_a_reduction(nn: Any) -> Any:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            for _ in range(2):
                x = nn.Dense(4)(x)
                self.sow(
                    'losses', 'l2', jnp.sum(x**2), reduce_fn=jnp.add, init_fn=lambda: jnp.zeros(())
                )
                self.sow('intermediates', 'max', x.max(), reduce_fn=lambda _, new: new)
            return x

    return Net()


@model(X)
def sow_of_a_tree(nn: Any) -> Any:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            self.sow('intermediates', 'tree', {'a': x, 'b': (x[0], None)})
            return nn.Dense(2)(x)

    return Net()


@model(X)
def perturb(nn: Any) -> Any:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            h = self.perturb('h', nn.Dense(3)(x))
            g = self.perturb('g', nn.Dense(3)(h), collection='other')
            return self.perturb('h2', g)

    return Net()


@model(X, mutable=['counters'])
def counter_in_a_collection(nn: Any) -> Any:
    class Counter(nn.Module):
        @nn.compact
        def __call__(self, x):
            count = self.variable('counters', 'n', lambda: jnp.zeros((), jnp.int32))
            seen = self.variable('counters', 'seen', jnp.zeros, (4,), jnp.float32)
            if self.is_mutable_collection('counters') and not self.is_initializing():
                count.value += 1
                seen.value = seen.value + x.sum(0)
            return x * count.value, count.is_mutable()

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            counter = Counter()
            return counter(counter(x)[0])

    return Net()


@model(X)
def variables_in_setup(nn: Any) -> Any:
    class Net(nn.Module):
        def setup(self):
            self.state = self.variable('state', 'average', lambda: jnp.ones((4,)))
            self.layer = nn.Dense(4)

        def __call__(self, x):
            if self.is_mutable_collection('state'):
                self.state.value = 0.9 * self.state.value + 0.1 * x.mean(0)
            return self.layer(x) - self.state.value

    return Net()


@model(X, mutable=['cache'])
def raw_variable_access(nn: Any) -> Any:
    """has_variable, get_variable and put_variable, with and without a value there."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            before = self.has_variable('cache', 'x'), self.has_variable('params', 'w')
            w = self.param('w', nn.initializers.ones, (4,))
            missing = self.get_variable('cache', 'x', 'none')
            missing = missing if isinstance(missing, str) else 'some'
            if self.is_mutable_collection('cache'):
                self.put_variable('cache', 'x', x * 2)
            after = self.has_variable('cache', 'x')
            same = self.get_variable('params', 'w')
            return x * w + same, before, missing, after, self.get_variable('cache', 'x')

    return Net()


@model(X)
def flags_of_the_run(nn: Any) -> Any:
    class Child(nn.Module):
        @nn.compact
        def __call__(self, x):
            collections = ('params', 'batch_stats', 'intermediates')
            mutable = [self.is_mutable_collection(name) for name in collections]
            rngs = [self.has_rng(name) for name in ('params', 'dropout', 'default')]
            return nn.Dense(2)(x), mutable, rngs, self.is_initializing()

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return Child()(x)

    return Net()


@model(X)
def params_of_every_kind(nn: Any) -> Any:
    """Initialisers with positional and keyword arguments, of odd dtypes, that return trees."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            a = self.param('a', nn.initializers.normal(0.1), (4,), jnp.float16)
            b = self.param(
                'b', lambda key, n, *, scale: scale * jax.random.uniform(key, (n,)), 4, scale=2
            )
            c = self.param(
                'c',
                lambda key: {
                    'u': jax.random.normal(key, (4,)),
                    'v': [jnp.ones((4,), jnp.bfloat16)],
                },
            )
            d = self.param('d', lambda key: jnp.arange(4, dtype=jnp.int32))
            e = self.param('e', lambda key: 2.5)
            return x * a + b * c['u'] + c['v'][0] + d * e

    return Net()


@model(X)
def every_initialiser(nn: Any) -> Any:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            plain = ('lecun_normal', 'glorot_uniform', 'he_normal', 'orthogonal', 'xavier_normal')
            for name in (*plain, 'kaiming_uniform', 'lecun_uniform', 'delta'):
                init = (
                    nn.initializers.constant(0.5)
                    if name == 'delta'
                    else getattr(nn.initializers, name)()
                )
                x = x @ self.param(name, init, (4, 4))
            for name in ('uniform', 'normal', 'truncated_normal'):
                x = x + self.param(name, getattr(nn.initializers, name)(0.2), (4,))
            scaled = nn.initializers.variance_scaling(2.0, 'fan_out', 'uniform', in_axis=0)
            return x @ self.param('scaled', scaled, (4, 3))

    return Net()


@model(X, streams=('noise', 'dropout'))
def several_streams(nn: Any) -> Any:
    noise = _noise(nn)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = noise()(nn.Dense(4)(x))
            x = nn.Dropout(0.5, deterministic=False)(x)
            return noise(stream='dropout')(x)

    return Net()


@model(X, streams=('noise',))
def counters_across_calls(nn: Any) -> Any:
    """Each call of one module draws a new key, and so does each module."""
    noise = _noise(nn)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            one, two = noise(), noise()
            own = jax.random.uniform(self.make_rng('noise'), x.shape)
            return [one(x), two(x), one(x), own, jax.random.normal(self.make_rng('noise'), (2,))]

    return Net()


@model(X, streams=('noise',))
def counters_in_shared_modules(nn: Any) -> Any:
    noise = _noise(nn)

    class Block(nn.Module):
        sub: Any

        @nn.compact
        def __call__(self, x):
            w = self.param('w', nn.initializers.normal(), (4,))
            return self.sub(x) * w

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            shared = noise()
            return Block(shared)(x), Block(shared)(x), shared(x)

    return Net()


@model(X, modes=('eager_typed', 'jit_raw'), apply={'rngs': {'params': jax.random.key(5)}})
def stream_falls_back_to_params(nn: Any) -> Any:
    """A stream without a key draws from params, whose counter it shares."""
    noise = _noise(nn)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = noise()(x)
            x = x * self.param('w', nn.initializers.normal(), (4,))
            x = noise()(x) + jax.random.normal(self.make_rng(), x.shape)
            return x + self.param('b', nn.initializers.normal(), (4,)), self.has_rng('noise')

    return Net()


@model(X, streams=('noise',))
def keys_in_setup(nn: Any) -> Any:
    noise = _noise(nn)

    class Net(nn.Module):
        def setup(self):
            self.key = self.make_rng('noise')
            self.child = noise()

        def __call__(self, x):
            return self.child(x) + jax.random.normal(self.key, x.shape)

    return Net()


@model(X)
def variables_read_inside(nn: Any) -> Any:
    """``self.variables`` is the module's own part, at the moment of asking."""

    class Child(nn.Module):
        @nn.compact
        def __call__(self, x):
            before = sorted(self.variables)
            y = nn.Dense(2, name='d')(x)
            kernel = self.variables['params']['d']['kernel']
            return y, before, sorted(self.variables), kernel * 2

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return Child()(x)

    return Net()


@model(X)
def scope_used_directly(nn: Any) -> Any:
    class Child(nn.Module):
        @nn.compact
        def __call__(self, x):
            scope = self.scope
            w = scope.param('w', nn.initializers.ones, (4,))
            texts = [scope.path, scope.name, scope.path_text, scope.root is scope.parent.parent]
            names = [scope.default_name('d'), scope.has_variable('params', 'w')]
            return x * w, texts, names, scope.root.path, scope.get_flag('initializing', False)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Sequential([Child()])(x)[0]

    return Net()


@model(X)
def boxed_parameters(nn: Any) -> Any:
    """Partitioned boxes: kept in the variables, taken off inside unless asked not to."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            init = nn.with_partitioning(nn.initializers.lecun_normal(), ('in', None))
            x = nn.Dense(4, kernel_init=init)(x)
            w = self.param('w', init, (4, 3))
            boxed = self.param('boxed', init, (4, 3), unbox=False)
            state = self.variable('state', 's', nn.with_partitioning(jnp.ones, ('a',)), (3,))
            raw = self.variable(
                'state', 'r', nn.with_partitioning(jnp.ones, ('a',)), (3,), unbox=False
            )
            return x @ w + x @ boxed.unbox() + state.value + raw.value.unbox(), type(boxed).__name__

    return Net()


@model(X, mutable=['state'])
def writing_to_boxes(nn: Any) -> Any:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            state = self.variable('state', 's', nn.with_partitioning(jnp.ones, ('a',)), (4,))
            if state.is_mutable():
                state.value = state.value + x.sum(0)
            return state.value, nn.meta.unbox({'a': 1})

    return Net()


@model(X)
def logically_boxed_parameters(nn: Any) -> Any:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            init = nn.with_logical_partitioning(nn.initializers.ones, ('embed', 'mlp'))
            return nn.Dense(3, kernel_init=init)(x)

    return Net()


@model(X)
def weak_types(nn: Any) -> Any:
    """Python numbers stay weakly typed on their way through params, variables and sow."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            a = self.param('a', lambda key: jnp.asarray(2.0))
            b = self.variable('state', 'b', lambda: jnp.asarray(3))
            self.sow('intermediates', 'c', a * 2)
            return a, b.value, a * jnp.ones((2,), jnp.bfloat16)

    return Net()


@model(X, mutable='cache')
def setup_variable_written_by_parent(nn: Any) -> Any:
    class Child(nn.Module):
        def setup(self):
            self.memory = self.variable('cache', 'memory', jnp.zeros, (4,))

        def __call__(self, x):
            return x + self.memory.value

    class Net(nn.Module):
        def setup(self):
            self.child = Child()

        def __call__(self, x):
            if self.is_mutable_collection('cache'):
                self.child.memory.value = x[0]
            return self.child(x)

    return Net()
