"""Mistakes in modules are refused by an error that says where, and how to mend it."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import linnet.linen as nn
from linnet import errors
from tests.behaviour.refusals import KEY, X, body, deep, refuses

DENSE = deep(lambda: nn.Dense(3))
VARIABLES = DENSE.init(KEY, X)


def test_a_module_called_unbound() -> None:
    refuses(
        lambda: nn.Dense(3)(X), errors.CallCompactUnboundModuleError, 'Dense', '.init(', '.apply('
    )


def test_init_on_the_class() -> None:
    for run in (lambda: nn.Dense.init(KEY, X), lambda: nn.Dense.apply(VARIABLES, X)):
        refuses(run, errors.InvalidInstanceModuleError, 'instance')


def test_an_unknown_method() -> None:
    message = refuses(lambda: DENSE.apply(VARIABLES, X, method='encode'), AttributeError, 'encode')
    assert 'Net' in message


@pytest.mark.parametrize('method', [3, X, nn.Dense(3).features], ids=str)
def test_a_method_that_is_no_function(method: Any) -> None:
    refuses(
        lambda: DENSE.apply(VARIABLES, X, method=method),
        errors.ApplyModuleInvalidMethodError,
        'method',
    )


def test_a_submodule_without_compact() -> None:
    class Plain(nn.Module):
        def __call__(self, x):
            return nn.Dense(3)(x)

    refuses(
        lambda: deep(Plain).init(KEY, X),
        errors.AssignSubModuleError,
        'Dense',
        'Plain',
        '@nn.compact',
        'setup()',
    )


def test_a_parameter_without_compact() -> None:
    class Plain(nn.Module):
        def __call__(self, x):
            return x * self.param('scale', nn.initializers.ones, (4,))

    refuses(lambda: deep(Plain).init(KEY, X), ValueError, '/block/Plain_0', 'scale', '@nn.compact')


def test_a_name_given_twice() -> None:
    model = body(lambda self, x: nn.Dense(3, name='a')(nn.Dense(3, name='a')(x)))
    refuses(lambda: model.init(KEY, X), errors.NameInUseError, "'a'", 'Body', 'name=')


def test_a_given_name_equal_to_a_later_automatic_one() -> None:
    model = body(lambda self, x: nn.Dense(3)(nn.Dense(3, name='Dense_0')(x)))
    refuses(lambda: model.init(KEY, X), errors.NameInUseError, 'Dense_0', 'Body', 'name=')


def test_a_parameter_twice() -> None:
    def call(self, x):
        return self.param('w', nn.initializers.ones, (4,)) + self.param(
            'w', nn.initializers.ones, (4,)
        )

    refuses(lambda: body(call).init(KEY, X), errors.NameInUseError, "'w'", '/block/Body_0')


def test_a_parameter_named_like_a_setup_attribute() -> None:
    def setup(self):
        self.layer = nn.Dense(3)

    model = body(lambda self, x: self.param('layer', nn.initializers.ones, (4,)), setup=setup)
    refuses(lambda: model.init(KEY, X), errors.NameInUseError, "'layer'", '/block/Body_0')


def test_a_field_without_annotation() -> None:
    class Typo(nn.Module):
        features = 64

        @nn.compact
        def __call__(self, x):
            return nn.Dense(self.features)(x)

    refuses(lambda: Typo(features=3), TypeError, 'Typo', 'features', 'annotation')


def test_an_unknown_constructor_argument() -> None:
    refuses(lambda: nn.Dense(3, use_bais=False), TypeError, 'Dense', 'use_bais', 'use_bias')


def test_a_mutable_default() -> None:
    def define() -> Any:
        class Listed(nn.Module):
            sizes: list[int] = [8, 8]  # noqa: RUF012 - the mistake

        return Listed

    message = refuses(define, ValueError, 'Listed', 'sizes')
    assert 'tuple' in message or 'default_factory' in message


def test_a_field_that_every_module_has() -> None:
    def define() -> Any:
        class Taken(nn.Module):
            parent: Any

        return Taken

    refuses(define, errors.ReservedModuleAttributeError, 'Taken', 'parent')


def test_an_attribute_set_in_a_method() -> None:
    def call(self, x):
        self.cache = x
        return x

    refuses(
        lambda: body(call).init(KEY, X),
        errors.SetAttributeFrozenModuleError,
        '/block/Body_0',
        'cache',
        'self.variable',
    )


def test_a_field_set_in_setup() -> None:
    def setup(self):
        self.width = 5

    refuses(
        lambda: body(lambda self, x: x, setup=setup).init(KEY, X),
        errors.SetAttributeInModuleSetupError,
        'Body',
        'width',
    )


def test_post_init_without_super() -> None:
    class Forgot(nn.Module):
        width: int = 3

        def __post_init__(self):
            self.width = 4

        @nn.compact
        def __call__(self, x):
            return nn.Dense(self.width)(x)

    refuses(
        lambda: deep(Forgot).init(KEY, X),
        errors.IncorrectPostInitOverrideError,
        'Forgot',
        'super().__post_init__()',
    )


def test_an_unknown_attribute() -> None:
    with pytest.raises(AttributeError, match=r'Body.*widht') as info:
        body(lambda self, x: self.widht).init(KEY, X)
    assert info.value.name == 'widht', 'Python offers no near miss without the name'
    assert 'width' in dir(info.value.obj), 'Python offers no near miss without the object'


def test_an_unknown_attribute_in_a_property() -> None:
    class Prop(nn.Module):
        @property
        def size(self):
            return self.hiden * 2

        @nn.compact
        def __call__(self, x):
            return nn.Dense(self.size)(x)

    refuses(lambda: deep(Prop).init(KEY, X), errors.DescriptorAttributeError, 'hiden', 'size')


def test_an_attribute_of_setup_read_unbound() -> None:
    class Later(nn.Module):
        def setup(self):
            self.layer = nn.Dense(3)

    with pytest.raises(AttributeError, match=r'(?s)Later.*layer.*setup\(\).*apply\(\)'):
        Later().layer  # noqa: B018 - reading it is the mistake


def test_an_initialiser_that_was_not_made() -> None:
    model = deep(lambda: nn.Dense(3, kernel_init=nn.initializers.lecun_normal))
    refuses(lambda: model.init(KEY, X), TypeError, '/block/Dense_0', 'kernel', 'lecun_normal', '()')


@pytest.mark.parametrize('name', ['variables', 'path'])
def test_what_only_a_bound_module_has(name: str) -> None:
    refuses(lambda: getattr(nn.Dense(3), name), ValueError, 'Dense', name)


@pytest.mark.parametrize(
    ('name', 'args'),
    [
        ('make_rng', ('dropout',)),
        ('param', ('w', nn.initializers.ones, (2,))),
        ('variable', ('state', 'w', jnp.ones, (2,))),
        ('sow', ('intermediates', 'x', 1)),
        ('put_variable', ('state', 'w', 1)),
        ('get_variable', ('state', 'w')),
        ('has_variable', ('state', 'w')),
        ('is_initializing', ()),
        ('unbind', ()),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_what_only_a_bound_module_does(name: str, args: tuple[Any, ...]) -> None:
    refuses(lambda: getattr(nn.Dense(3), name)(*args), errors.LinnetError, 'Dense', 'bound')


def test_a_parent_of_no_kind() -> None:
    refuses(lambda: nn.Dense(3, parent=3), errors.ParentError, 'Dense', '3')


def test_setup_that_needs_itself() -> None:
    """A method called within setup sees what setup has made so far."""

    class Circle(nn.Module):
        def setup(self):
            self.layer = nn.Dense(3)
            self.first = self(np.ones((1, 4), np.float32))

        def __call__(self, x):
            return self.layer(x)

    y = Circle().init_with_output(KEY, X)[0]
    assert y.shape == (2, 3)


def test_a_train_flag_given_nowhere() -> None:
    refuses(
        lambda: deep(nn.BatchNorm).init(KEY, X),
        ValueError,
        '/block/BatchNorm_0',
        'use_running_average',
    )


def test_hash_of_a_bound_module() -> None:
    with pytest.raises(TypeError, match=r'(?s)Body.*bound.*unbind'):
        body(lambda self, x: hash(self)).init(KEY, X)
