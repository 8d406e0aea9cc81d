"""Every form in which a transform is applied: to classes, methods and functions, once and nested.

A *form* is a builder ``form(nn, lift)``, where ``lift`` is one of the transforms that leave a
signature as it is; each form runs with each of them.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from tests.parity.models import X
from tests.parity.transforms import STATE, STREAMS, Table, numbers

TABLE = Table(share=1)
FORMS: dict[str, Callable[[Any, Any], Any]] = {}


def lifts(nn: Any) -> dict[str, Any]:
    """The transforms that leave a signature as it is."""
    axes, splits = {'params': None, STATE: 0}, {'params': False, STREAMS: True}
    return {
        'jit': nn.jit,
        'remat': nn.remat,
        'fold_rngs': nn.fold_rngs,
        'map_variables': functools.partial(
            nn.map_variables, mapped_collections='params', init=True
        ),
        'vmap': functools.partial(nn.vmap, variable_axes=axes, split_rngs=splits),
    }


LIFTS = ('jit', 'remat', 'fold_rngs', 'map_variables', 'vmap')


def form(build: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    FORMS[build.__name__] = build
    return build


def _noise(nn: Any) -> Any:
    class Noise(nn.Module):
        @nn.compact
        def __call__(self, x):
            y = nn.Dense(4, kernel_init=numbers)(x)
            return y + numbers(self.make_rng('noise'), y.shape)

    return Noise


def _holder(nn: Any) -> Any:
    class Holder(nn.Module):
        sub: Any

        @nn.compact
        def __call__(self, x):
            return self.sub(x) * self.param('scale', numbers, (4,))

    return Holder


# Classes.


@form
def named_automatically(nn: Any, lift: Any) -> Any:
    """``JitDense_0``, ``CheckpointDense_0`` and so on, beside plain ones that have numbers too."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Dense(4, kernel_init=numbers)(lift(nn.Dense)(4, kernel_init=numbers)(x))
            return nn.Dense(4, kernel_init=numbers)(
                lift(nn.Dense)(4, kernel_init=numbers)(lift(_noise(nn))()(x))
            )

    return Net()


@form
def named_by_hand(nn: Any, lift: Any) -> Any:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return lift(_noise(nn))(name='b')(
                lift(nn.Dense)(4, name='a', use_bias=False, kernel_init=numbers)(x)
            )

    return Net()


@form
def at_the_root(nn: Any, lift: Any) -> Any:
    return lift(_noise(nn))()


@form
def called_several_times(nn: Any, lift: Any) -> Any:
    """Counts of keys go on from call to call, and in the parent afterwards."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            before = self.make_rng('noise')
            mdl = lift(_noise(nn))()
            y = mdl(mdl(x)), mdl(x)
            return y, before, self.make_rng('noise')

    return Net()


@form
def made_in_setup(nn: Any, lift: Any) -> Any:
    class Net(nn.Module):
        def setup(self):
            self.one = lift(nn.Dense)(4, kernel_init=numbers)
            self.many = [lift(_noise(nn))(), {'k': lift(nn.Dense)(4, kernel_init=numbers)}]

        def __call__(self, x):
            return self.many[1]['k'](self.many[0](self.one(self.many[0](x))))

    return Net()


@form
def given_as_a_field(nn: Any, lift: Any) -> Any:
    return _holder(nn)(lift(_holder(nn))(lift(_noise(nn))()))


@form
def holding_a_module_from_outside(nn: Any, lift: Any) -> Any:
    """A module in a field of a lifted one is used outside as well, before and after."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            early, late = _noise(nn)(), _noise(nn)()
            holder = lift(_holder(nn))
            y = holder(late)(holder(early)(early(x)))
            return late(y), self.make_rng('noise')

    return Net()


@form
def holding_modules_in_containers(nn: Any, lift: Any) -> Any:
    class Many(nn.Module):
        parts: Any

        def __call__(self, x):
            for part in self.parts['list']:
                x = part(x)
            return self.parts['one'](x)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            one = nn.Dense(4, kernel_init=numbers)
            return lift(Many)({'list': [one, _noise(nn)()], 'one': one, 'plain': 3})(x)

    return Net()


@form
def lifted_inside_lifted(nn: Any, lift: Any) -> Any:
    class Inner(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.remat(_noise(nn))()(x) + numbers(self.make_rng('noise'), x.shape)

    class Outer(nn.Module):
        @nn.compact
        def __call__(self, x):
            inner = lift(Inner)()
            return lift(nn.Dense)(4, kernel_init=numbers)(inner(inner(x)))

    return lift(Outer)()


@form
def subclass_of_a_lifted_class(nn: Any, lift: Any) -> Any:
    class Net(lift(_noise(nn))):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(4, name='own', kernel_init=numbers)(super().__call__(x))

    return Net()


@form
def class_with_post_init(nn: Any, lift: Any) -> Any:
    class Net(nn.Module):
        width: int = 4
        twice: Any = None

        def __post_init__(self):
            self.twice = 2 * self.width
            super().__post_init__()

        @nn.compact
        def __call__(self, x):
            return nn.Dense(self.twice, kernel_init=numbers)(x)

    return lift(Net)(width=3)


@form
def class_with_unhashable_fields(nn: Any, lift: Any) -> Any:
    class Net(nn.Module):
        options: Any
        weights: Any
        fn: Any

        @nn.compact
        def __call__(self, x):
            return self.fn(nn.Dense(self.options['width'], kernel_init=numbers)(x) * self.weights)

    class Outer(nn.Module):
        @nn.compact
        def __call__(self, x):
            options = {'width': 4, 'more': [1, {'a': 2}]}
            return lift(Net)(options, np.arange(4.0, dtype=np.float32), lambda x: nn.relu(x))(x)

    return Outer()


@form
def setup_style(nn: Any, lift: Any) -> Any:
    class Net(nn.Module):
        def setup(self):
            self.first = nn.Dense(4, kernel_init=numbers)
            self.second = _noise(nn)()
            self.scale = self.param('scale', numbers, (4,))
            self.key = self.make_rng('noise')

        def __call__(self, x):
            y = self.second(self.first(x)) * self.scale
            return self.first(y) + numbers(self.key, y.shape)

    return _holder(nn)(lift(Net)())


@form
def several_methods_of_one_class(nn: Any, lift: Any) -> Any:
    """A lifted method beside plain ones of the same module."""

    class Net(nn.Module):
        def setup(self):
            self.first, self.second = _noise(nn)(), nn.Dense(4, kernel_init=numbers)

        def encode(self, x):
            return self.first(x)

        @lift
        def lifted(self, x):
            return self.second(self.encode(x))

        def __call__(self, x):
            return self.lifted(self.encode(self.lifted(x)))

    return Net()


# Methods.


@form
def above_compact(nn: Any, lift: Any) -> Any:
    class Net(nn.Module):
        @lift
        @nn.compact
        def __call__(self, x):
            return nn.Dense(4, kernel_init=numbers)(_noise(nn)()(x)) + numbers(
                self.make_rng('noise'), (4,)
            )

    return _holder(nn)(Net())


@form
def helper_that_makes_submodules(nn: Any, lift: Any) -> Any:
    """Automatic names go on after a lifted method has made submodules."""

    class Net(nn.Module):
        @lift
        def helper(self, x):
            return nn.Dense(4, kernel_init=numbers)(
                nn.Dense(4, kernel_init=numbers)(x)
            ) * self.param('w', nn.initializers.ones, (4,))

        @nn.compact
        def __call__(self, x):
            return nn.Dense(4, kernel_init=numbers)(
                self.helper(nn.Dense(4, kernel_init=numbers)(x))
            )

    return Net()


@form
def helper_called_twice(nn: Any, lift: Any) -> Any:
    class Net(nn.Module):
        @lift
        def helper(self, x):
            return _noise(nn)()(x) + numbers(self.make_rng('noise'), x.shape)

        @nn.compact
        def __call__(self, x):
            y = self.helper(self.helper(x))
            return _noise(nn)()(y), self.make_rng('noise')

    return Net()


@form
def compact_method_lifted_from_outside(nn: Any, lift: Any) -> Any:
    """``lift(Class.method)(instance, ...)``."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            mdl = _noise(nn)()
            return lift(type(mdl).__call__)(mdl, x) + mdl(x)

    return Net()


@form
def own_method_lifted_in_place(nn: Any, lift: Any) -> Any:
    class Net(nn.Module):
        def helper(self, x):
            return nn.Dense(4, kernel_init=numbers)(x)

        @nn.compact
        def __call__(self, x):
            y = lift(Net.helper)(self, nn.Dense(4, kernel_init=numbers)(x))
            return lift(Net.helper)(self, y) + self.helper(x)

    return Net()


# Functions of a module.


@form
def function_of_a_submodule(nn: Any, lift: Any) -> Any:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            mdl = _noise(nn)()
            run = lift(lambda mdl, x: mdl(2 * mdl(x)))
            return run(mdl, x), run(mdl, x + 1), self.make_rng('noise')

    return Net()


@form
def function_of_self(nn: Any, lift: Any) -> Any:
    """Submodules that exist already, and new ones."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Dense(4, kernel_init=numbers)(x)

            def run(self, x):
                w = self.param('w', numbers, (4,))
                return nn.Dense(4, kernel_init=numbers)(_noise(nn)(name='n')(x)) * w

            return nn.Dense(4, kernel_init=numbers)(lift(run)(self, x)), self.make_rng('noise')

    return Net()


@form
def function_of_self_in_setup_style(nn: Any, lift: Any) -> Any:
    class Net(nn.Module):
        def setup(self):
            self.first, self.second = nn.Dense(4, kernel_init=numbers), _noise(nn)()

        def __call__(self, x):
            return lift(lambda self, x: self.second(self.first(self.second(x))))(self, x)

    return Net()


@form
def function_with_shared_parts(nn: Any, lift: Any) -> Any:
    """The module holds another that the function does not get by itself."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            shared = _noise(nn)()
            one, two = _holder(nn)(shared), _holder(nn)(shared)
            y = lift(lambda mdl, x: mdl(mdl(x)))(one, x)
            return shared(two(y)) + one(y)

    return Net()


@form
def sown_and_written(nn: Any, lift: Any) -> Any:
    """Sown values gather over calls, counters count, some of them outside the lifted part."""

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x):
            y = nn.Dense(4, kernel_init=numbers)(x)
            self.sow('intermediates', 'y', y)
            self.sow('losses', 'l', y.sum(), reduce_fn=jnp.add, init_fn=lambda: jnp.zeros(()))
            count = self.variable('state', 'n', lambda: jnp.zeros((), jnp.int32))
            if self.is_mutable_collection('state'):
                count.value += 1
            return self.perturb('p', y) + count.value

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            block = lift(Block)()
            x = block(block(x))
            self.sow('intermediates', 'x', x)
            return block(x)

    return Net()


LEFT_OUT = {
    # On purpose different, see tests/parity/test_transforms_deviations.py.
    ('helper_called_twice', 'jit'),
    ('helper_called_twice', 'fold_rngs'),
}
for _form, _lift in itertools.product(FORMS, LIFTS):
    if (_form, _lift) not in LEFT_OUT:
        TABLE.add(
            f'{_form}-{_lift}',
            lambda nn, f=_form, name=_lift: FORMS[f](nn, lifts(nn)[name]),
            np.stack([X, X + 1]),
        )


@pytest.mark.parametrize(('name', 'mode'), TABLE.runs())
def test_form(name: str, mode: str) -> None:
    TABLE.run(name, mode)
