"""Errors about building modules and calling them while unbound (LN3xx, continued)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from linnet.errors._base import LinnetError
from linnet.errors._suggest import brief, class_name, described, did_you_mean, listing, sentences


def _instance(module_cls: object) -> str:
    """``Net()`` in a line of code; ``model`` where the class is not known."""
    return f'{class_name(module_cls)}()' if module_cls else 'model'


def _subject(module_cls: object) -> str:
    return class_name(module_cls) if module_cls else 'the module'


class CallCompactUnboundModuleError(LinnetError):
    """A ``@nn.compact`` method was called on a module that is not bound to variables.

    Wrong::

        Net()(x)

    Right::

        variables = Net().init(key, x)
        y = Net().apply(variables, x)

    Reason: a module describes a computation and holds no parameters itself; ``init`` makes
    them and ``apply`` runs the module with them.
    """

    code = 'LN307'

    def __init__(self, *, module_cls: object = '', method: str = '__call__') -> None:
        name = _subject(module_cls)
        model = _instance(module_cls)
        extra = '' if method == '__call__' else f", method='{method}'"
        super().__init__(
            f'{name}.{method} was called, but {name} is not bound to variables',
            why='a @nn.compact method makes or reads variables; call it through init and apply',
            mend=f'variables = {model}.init(key, x{extra}); y = {model}.apply(variables, x{extra})',
        )

    @classmethod
    def under(cls, transform: str, module: object) -> CallCompactUnboundModuleError:
        """A lifted transform was given a module that is not bound to variables."""
        error = cls(module_cls=module)
        error.what = f'{transform} was given {brief(module)}, which is not bound to variables'
        error.why = 'a lifted transform hands the variables of a module over'
        error.mend = f'call {transform} in a method of a module, which init or apply runs'
        error.args = (error.what,)
        return error


class CallSetupUnboundModuleError(LinnetError):
    """``setup`` was called by hand on a module that is not bound to variables.

    Wrong::

        model = Net()
        model.setup()

    Right::

        encoder = model.bind(variables).encoder

    Reason: ``setup`` makes submodules and variables in a scope; the library calls it before
    the first method of a bound module.
    """

    code = 'LN308'

    def __init__(self, *, module_cls: object = '') -> None:
        super().__init__(
            f'setup() of {_subject(module_cls)} was called, but it is not bound to variables',
            why='the library calls setup() itself once the module is bound',
            mend=f'{_instance(module_cls)}.bind(variables), or nn.apply(fn, model)(variables, x)',
        )


class CallUnbindOnUnboundModuleError(LinnetError):
    """``unbind`` was called on a module that is not bound to variables.

    Wrong::

        module, variables = Net().unbind()

    Right::

        module, variables = Net().bind(variables).unbind()

    Reason: ``unbind`` takes apart what ``bind`` put together, a module and its variables.
    """

    code = 'LN309'

    def __init__(self, *, module_cls: object = '') -> None:
        super().__init__(
            f'unbind() of {_subject(module_cls)} was called, but it is not bound to variables',
            mend=f'{_instance(module_cls)}.bind(variables).unbind()',
        )


class CallShareScopeOnUnboundModuleError(LinnetError):
    """``nn.share_scope`` was called with a module that is not bound to variables.

    Wrong::

        nn.share_scope(Net(), nn.Dense(3))

    Right::

        class Net(nn.Module):
            def setup(self):
                self.dense = nn.Dense(3)
                nn.share_scope(self, self.dense)

    Reason: only a bound module has a scope that another can use; call it in ``setup`` or in a
    ``@nn.compact`` method.
    """

    code = 'LN310'

    def __init__(self, *, module_cls: object = '') -> None:
        super().__init__(
            f'share_scope was called with {_subject(module_cls)}, which is not bound',
            why='an unbound module has no scope to share',
            mend='call nn.share_scope(self, self.dense) in setup()',
        )


class IncorrectPostInitOverrideError(LinnetError):
    """A module overrides ``__post_init__`` and does not call the one of its base.

    Wrong::

        class Net(nn.Module):
            def __post_init__(self):
                self.width = 2 * self.n

    Right::

        class Net(nn.Module):
            def __post_init__(self):
                self.width = 2 * self.n
                super().__post_init__()

    Reason: the base makes the module part of its parent. Set attributes before that call:
    afterwards the module is frozen.
    """

    code = 'LN311'

    def __init__(self, *, module_cls: object = '') -> None:
        name = _subject(module_cls)
        init = vars(module_cls).get('__init__') if isinstance(module_cls, type) else None
        if init is not None and not hasattr(init, '__wrapped__'):
            super().__init__(
                f'{name} has an __init__ of its own, which does not call super().__post_init__()',
                why='a module is a dataclass, whose constructor is made from its fields',
                mend=f'annotate the fields of {name} and drop __init__, or end it with '
                'super().__post_init__()',
            )
            return
        super().__init__(
            f'{name} overrides __post_init__ without calling super().__post_init__()',
            why='the module was not made part of its parent',
            mend=f'call super().__post_init__() as the last line of {name}.__post_init__',
        )


class DescriptorAttributeError(LinnetError):
    """A property, or another descriptor, read an attribute that the module does not have.

    Wrong::

        class Net(nn.Module):
            hidden: int = 4
            @property
            def hidden_size(self):
                return 2 * self.hiden

    Right::

        class Net(nn.Module):
            hidden: int = 4
            @property
            def hidden_size(self):
                return 2 * self.hidden

    Reason: Python would report the property itself as missing; this names the attribute.
    """

    code = 'LN312'

    def __init__(
        self,
        *,
        module_cls: object = '',
        descriptor: str = '',
        missing: str = '',
        known: Iterable[str] = (),
    ) -> None:
        name = _subject(module_cls)
        reader = f'the property {descriptor!r}' if descriptor else 'a property'
        lacking = f'the attribute {missing!r}' if missing else 'an attribute'
        super().__init__(
            f'{reader} of {name} reads {lacking}, which {name} does not have',
            why=did_you_mean(missing, known),
            mend=f'add the attribute to {name}, or mend its name in {descriptor or "the property"}',
        )


class InvalidInstanceModuleError(LinnetError):
    """``init``, ``apply`` or ``bind`` was called on a module class in place of an instance.

    Wrong::

        nn.Dense.init(key, x)

    Right::

        nn.Dense(3).init(key, x)

    Reason: the class is a kind of layer; only an instance has options such as ``features``.
    """

    code = 'LN313'

    def __init__(self, *, module_cls: object = '', method: str = '') -> None:
        name = class_name(module_cls) if module_cls else 'Net'
        call = method or 'init'
        super().__init__(
            f'{name}.{call} was called on the class, not on an instance'
            if method
            else 'init, init_with_output or apply was called on a class, not on an instance',
            why='it needs an instance, which holds the options of the layer',
            mend=f'{name}(...).{call}(...)',
        )


class FieldError(LinnetError, TypeError, ValueError):
    """A field of a module class is defined wrongly, or an argument fits no field.

    Wrong::

        class Net(nn.Module):
            features = 64
        Net(features=32)

    Right::

        class Net(nn.Module):
            features: int = 64
        Net(features=32)

    Reason: modules are dataclasses. A field is a class attribute with a type annotation, its
    default cannot be mutable, and the constructor takes the fields, ``parent`` and ``name``.
    """

    code = 'LN316'

    @classmethod
    def without_annotation(cls, module_cls: object, attribute: str, value: Any) -> FieldError:
        """A class attribute without annotation was given to the constructor."""
        name = class_name(module_cls)
        return cls(
            f'{name}.{attribute} = {brief(value)} has no type annotation, so it is not a field',
            why=f'{name}() takes annotated attributes only',
            mend=f'{attribute}: {type(value).__name__} = {brief(value)}',
        )

    @classmethod
    def mutable_default(cls, module_cls: object, attribute: str, value: Any) -> FieldError:
        """The default of a field could be changed in place, by all instances at once."""
        kind = type(value).__name__
        mend = f'{attribute}: Any = dataclasses.field(default_factory=lambda: {brief(value)})'
        if isinstance(value, list):
            mend = f'{attribute}: tuple[Any, ...] = {brief(tuple(value))}'
        return cls(
            f'the field {class_name(module_cls)}.{attribute} has the mutable default '
            f'{brief(value)} of type {kind}',
            why='all instances would share it; use a tuple, or a default_factory',
            mend=mend,
        )

    @classmethod
    def no_hash(cls, module_cls: object, guilty: list[str], reason: Exception) -> FieldError:
        """A module cannot be hashed, for what some of its fields hold."""
        named = f', for {listing(guilty)}' if guilty else ''
        return cls(
            f'{class_name(module_cls)} has no hash{named}: {reason}',
            why='a module is hashed by its fields, as a static argument of jit, for example',
            mend='give the field a tuple, a string or a number',
        )

    @classmethod
    def unknown_argument(
        cls, module_cls: object, argument: str, known: Iterable[str] = ()
    ) -> FieldError:
        """The constructor was given an argument that is no field."""
        known, name = tuple(known), class_name(module_cls)
        return cls(
            f'{name}() has no field {argument!r}',
            why=sentences(did_you_mean(argument, known), f'Its fields are {listing(known)}.'),
            mend=f'drop {argument}=, or define it in {name} with a type annotation',
        )

    @classmethod
    def missing_arguments(cls, module_cls: object, arguments: Iterable[str]) -> FieldError:
        """The constructor was not given fields that have no default."""
        arguments, name = tuple(arguments), class_name(module_cls)
        given = ', '.join(f'{argument}=...' for argument in arguments)
        return cls(
            f'{name}() lacks a value for {listing(arguments)}',
            why='the fields have no default',
            mend=f'{name}({given})',
        )

    @classmethod
    def array_given(cls, module_cls: object, attribute: str, value: Any) -> FieldError:
        """An input was passed to the constructor, where an option is expected."""
        name = class_name(module_cls)
        return cls(
            f'{name} was given {described(value)} for its field {attribute!r}',
            why='the constructor takes the options of the layer; the instance takes the input',
            mend=f'nn.{name}()(x)',
        )


class ModuleArgumentError(LinnetError):
    """JAX was asked to trace a module, which is no array.

    Wrong::

        jax.jit(lambda model, variables, x: model.apply(variables, x))(model, variables, x)
        nn.relu(nn.Dense(3))

    Right::

        jax.jit(lambda variables, x: model.apply(variables, x))(variables, x)
        nn.relu(nn.Dense(3)(x))

    Reason: a transform of JAX traces its arguments as arrays. A module holds options, which must
    be known before: close over it, or name the argument in ``static_argnums``.
    """

    code = 'LN319'

    def __init__(self, module: object, *, field: str = '') -> None:
        name = class_name(module)
        if field:
            super().__init__(
                f'JAX was given the module {brief(module)} as an array: {name} got an array for '
                f'{field}',
                why='a layer is first made with its options and then called on its input',
                mend=f'nn.{name}()(x)',
            )
        else:
            super().__init__(
                f'JAX was given the module {brief(module)} as an array',
                why='a module holds options, not arrays; JAX would trace it',
                mend='close over it, or jax.jit(fn, static_argnums=...) for its argument; to call '
                f'it, nn.{name}(...)(x)',
            )


class MissingAttributeError(LinnetError, AttributeError):
    """A module was asked for an attribute that it does not have.

    Wrong::

        model.parameters()
        model.train()

    Right::

        variables = model.init(key, x)
        model.apply(variables, x, train=True, rngs={'dropout': key})

    Reason: a module holds options. Parameters are outside, in the variables, and a mode such as
    train is an argument. What ``setup`` makes exists inside ``init`` and ``apply`` only.
    """

    code = 'LN320'

    def __init__(self, module: Any, name: str) -> None:
        what = f'{class_name(module)!r} object has no attribute {name!r}'
        AttributeError.__init__(self, what, name=name, obj=module)
        self.what, self.why, self.mend, self.where = what, '', '', ''

    def __str__(self) -> str:
        # Hints are looked for when somebody reads the message: most are asked for by hasattr.
        if self.obj is not None and not self.why:
            self.why = '; '.join(filter(None, self._hints(self.obj, str(self.name))))
        return super().__str__()

    def __reduce__(self) -> tuple[Any, ...]:
        str(self)  # the module is left behind
        return super().__reduce__()

    @staticmethod
    def _hints(module: Any, name: str) -> Iterator[str]:
        cls = type(module)
        yield _ELSEWHERE.get(name, '') or did_you_mean(name, dir(module))
        if module.scope is None:
            yield (
                'what setup() makes exists inside init() and apply() only, or on '
                f'{cls.__name__}(...).bind(variables)'
            )
        elif 'setup' in vars(cls) and any('setup' in vars(base) for base in cls.__mro__[1:-3]):
            yield f'setup() of {cls.__name__} may lack a call of super().setup()'


_ELSEWHERE = {
    **dict.fromkeys(
        ('params', 'parameters', 'state_dict', 'weights', 'named_parameters'),
        'parameters are in what init(key, x) returns',
    ),
    **dict.fromkeys(('train', 'eval'), 'a mode is an argument: model.apply(variables, x, train)'),
    **dict.fromkeys(('fit', 'predict', 'evaluate'), 'linnet.train.Trainer trains a model'),
    **dict.fromkeys(('forward', 'call'), 'a module is run by model.apply(variables, x)'),
    'register_buffer': "state is self.variable('state', name, init_fn)",
}


class VariableValueError(LinnetError, TypeError):
    """A Variable was used as if it were its value.

    Wrong::

        count = self.variable('state', 'count', lambda: 0)
        y = count + 1

    Right::

        count = self.variable('state', 'count', lambda: 0)
        y = count.value + 1

    Reason: ``variable`` returns a handle on a place in the variables, so that ``.value`` can be
    written as well as read. ``param`` returns the value itself, which nothing changes.
    """

    code = 'LN321'

    def __init__(self, message: str, *, line: str = '') -> None:
        super().__init__(
            f'a Variable was used as its value{f" in `{line}`" if line else ""}: {message}',
            why='self.variable returns a handle on the value',
            mend='variable.value',
        )


class ParentError(LinnetError, TypeError, ValueError):
    """The ``parent`` of a module is neither a module, a scope nor None.

    Wrong::

        nn.Dense(3, 'float32', parent=3)

    Right::

        nn.Dense(3, param_dtype='float32')

    Reason: ``parent`` is filled in by the library; ``parent=None`` makes a module that is not
    part of the one around it.
    """

    code = 'LN317'

    def __init__(self, parent: object, *, module_cls: object = '') -> None:
        name = _subject(module_cls)
        super().__init__(
            f'the parent of {name} is {described(parent)}, not a Module, a Scope or None',
            why='parent is filled in by the library; too many positional arguments reach it',
            mend=f'{name}(..., parent=None), or pass options by keyword',
        )
