"""Every common mistake is refused by the right error, which says where it is and how to mend it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linnet.linen as nn
from linnet import errors

KEY = jax.random.key(0)
X = np.ones((2, 4), np.float32)


class Block(nn.Module):
    """Two modules below the root, so that a path has three parts."""

    make: Callable[[], Any]

    @nn.compact
    def __call__(self, x):
        return self.make()(x)


class Net(nn.Module):
    make: Callable[[], Any]

    @nn.compact
    def __call__(self, x):
        return Block(self.make, name='block')(x)


def deep(make: Callable[[], Any]) -> Net:
    """A model that holds what ``make`` makes as ``/block/<Class>_0``."""
    return Net(make)


def body(call: Callable[[Any, Any], Any], **more: Any) -> Any:
    """A model whose ``/block/Body_0`` does what the function says, as its compact method."""

    class Body(nn.Module):
        width: int = 3

        def setup(self):
            more.get('setup', lambda self: None)(self)

        @nn.compact
        def __call__(self, x):
            return call(self, x)

    return deep(Body)


def refuses(program: Callable[[], Any], error: type[Exception], *words: str) -> str:
    """Asserts that the program fails with the error and that its message holds the words."""
    with pytest.raises(error) as info:
        program()
    message = str(info.value)
    assert isinstance(info.value, errors.LinnetError), f'{info.value!r}'
    for word in words:
        assert word in message, f'{word!r} is missing in:\n{message}'
    return message


DENSE = deep(lambda: nn.Dense(3))
VARIABLES = DENSE.init(KEY, X)
NOISY = deep(lambda: nn.Dropout(0.5, deterministic=False))
NORM = deep(lambda: nn.BatchNorm(use_running_average=False))


# Keys.


def test_a_stream_without_a_key() -> None:
    refuses(
        lambda: NOISY.apply({}, X),
        errors.InvalidRngError,
        '/block/Dropout_0',
        "'dropout'",
        "rngs={'dropout': ",
    )


def test_a_stream_misspelt() -> None:
    refuses(
        lambda: NOISY.apply({}, X, rngs={'dropuot': KEY}),
        errors.InvalidRngError,
        '/block/Dropout_0',
        "'dropout'",
        "'dropuot'",
    )


def test_init_without_a_key_for_params() -> None:
    refuses(
        lambda: DENSE.init({'dropout': KEY}, X),
        errors.InvalidRngError,
        "'params'",
        '/block/Dense_0',
    )


@pytest.mark.parametrize(
    ('rngs', 'words'),
    [
        pytest.param(0, ['int 0', 'rngs={'], id='int'),
        pytest.param(1.5, ['float 1.5', 'rngs={'], id='float'),
        pytest.param('dropout', ["str 'dropout'", 'rngs={'], id='str'),
        pytest.param([KEY], ['list', 'rngs={'], id='list'),
        pytest.param(np.ones(2, np.float32), ['(2,)', 'float32', 'rngs={'], id='floats'),
        pytest.param(jax.random.split(KEY), ['(2,)', 'keys'], id='keys'),
        pytest.param({'dropout': 0}, ["rngs['dropout']", 'jax.random.key('], id='dict_int'),
        pytest.param({'dropout': None}, ["rngs['dropout']", 'jax.random.key('], id='dict_none'),
        pytest.param(
            {'dropout': jax.random.split(KEY)}, ["rngs['dropout']", '(2,)'], id='dict_keys'
        ),
        pytest.param(
            {'dropout': jax.random.split(jax.random.PRNGKey(0), 3)},
            ["rngs['dropout']", '(3, 2)'],
            id='dict_raw_keys',
        ),
        pytest.param({0: KEY}, ['0', 'str'], id='number_as_name'),
    ],
)
def test_rngs_that_are_no_keys(rngs: Any, words: list[str]) -> None:
    for run in (lambda: NOISY.apply({}, X, rngs=rngs), lambda: NOISY.init(rngs, X)):
        refuses(run, errors.InvalidRngError, *words)


def test_init_with_the_input_first() -> None:
    """Key and input exchanged: the array is no key."""
    refuses(lambda: DENSE.init(X, KEY), errors.InvalidRngError, '(2, 4)', 'float32')


# Variables.


def test_no_params_at_all() -> None:
    refuses(
        lambda: DENSE.apply({}, X),
        errors.ScopeCollectionNotFound,
        '/block/Dense_0',
        "'params'",
        'init',
    )


def test_a_missing_collection() -> None:
    evaluating = deep(lambda: nn.BatchNorm(use_running_average=True))
    refuses(
        lambda: evaluating.apply({'params': NORM.init(KEY, X)['params']}, X),
        errors.ScopeCollectionNotFound,
        '/block/BatchNorm_0',
        "'batch_stats'",
    )


def test_a_missing_parameter() -> None:
    params = {'block': {'Dense_0': {'bias': np.ones(3, np.float32)}}}
    refuses(
        lambda: DENSE.apply({'params': params}, X),
        errors.ScopeParamNotFoundError,
        '/block/Dense_0',
        "'kernel'",
        'bias',
    )


def test_a_missing_variable() -> None:
    evaluating = deep(lambda: nn.BatchNorm(use_running_average=True))
    variables = NORM.init(KEY, X)
    del variables['batch_stats']['block']['BatchNorm_0']['var']
    refuses(
        lambda: evaluating.apply(variables, X),
        errors.ScopeVariableNotFoundError,
        '/block/BatchNorm_0',
        "'var'",
        "'batch_stats'",
    )


def test_a_parameter_of_another_shape() -> None:
    refuses(
        lambda: deep(lambda: nn.Dense(5)).apply(VARIABLES, X),
        errors.ScopeParamShapeError,
        '/block/Dense_0',
        "'kernel'",
        '(4, 5)',
        '(4, 3)',
    )


def test_an_input_of_another_width() -> None:
    refuses(
        lambda: DENSE.apply(VARIABLES, X[:, :2]),
        errors.ScopeParamShapeError,
        '/block/Dense_0',
        '(4, 3)',
        '2',
    )


def test_params_wrapped_twice() -> None:
    refuses(
        lambda: DENSE.apply({'params': VARIABLES}, X),
        errors.ApplyScopeInvalidVariablesStructureError,
        'params',
        'extra',
    )


@pytest.mark.parametrize(
    ('variables', 'word'),
    [(None, 'None'), (X, '(2, 4)'), ([], 'list'), ('params', 'str'), (3, 'int')],
)
def test_variables_that_are_no_dict(variables: Any, word: str) -> None:
    refuses(
        lambda: DENSE.apply(variables, X),
        errors.ApplyScopeInvalidVariablesTypeError,
        word,
        "{'params': ",
    )


def test_the_pair_of_init_with_output_as_variables() -> None:
    pair = DENSE.init_with_output(KEY, X)
    refuses(lambda: DENSE.apply(pair, X), errors.ApplyScopeInvalidVariablesTypeError, 'tuple')


def test_a_collection_that_is_no_dict() -> None:
    refuses(
        lambda: DENSE.apply({'params': X}, X), errors.ApplyScopeInvalidVariablesTypeError, 'params'
    )


def test_params_without_their_level() -> None:
    """apply(params, x) in place of apply({'params': params}, x)."""
    refuses(
        lambda: DENSE.apply(VARIABLES['params'], X),
        errors.ScopeCollectionNotFound,
        "{'params': ",
    )


def test_statistics_that_are_not_mutable() -> None:
    refuses(
        lambda: NORM.apply(NORM.init(KEY, X), X),
        errors.ModifyScopeVariableError,
        '/block/BatchNorm_0',
        "'batch_stats'",
        "mutable=['batch_stats']",
    )


def test_a_write_to_an_immutable_collection() -> None:
    def call(self, x):
        self.put_variable('cache', 'x', x)

    refuses(
        lambda: body(call).apply({}, X),
        errors.ModifyScopeVariableError,
        '/block/Body_0',
        "'cache'",
        "mutable=['cache']",
    )


def test_a_filter_that_is_none() -> None:
    refuses(
        lambda: DENSE.apply(VARIABLES, X, mutable=1.5), errors.InvalidFilterError, '1.5', 'DenyList'
    )


def test_lazy_init_that_needs_the_numbers() -> None:
    model = body(lambda self, x: self.param('w', lambda key: x * 2))
    refuses(
        lambda: model.lazy_init(KEY, jax.ShapeDtypeStruct((2, 4), jnp.float32)),
        errors.LazyInitError,
    )


# Modules.


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

    with pytest.raises(AttributeError, match=r'Later.*layer.*setup\(\).*apply\(\)'):
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
    with pytest.raises(TypeError, match=r'Body.*bound.*unbind'):
        body(lambda self, x: hash(self)).init(KEY, X)
