"""Errors about defining modules and about what may be done with one when (LN3xx).

Facts about the module come as its class or the name of the class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from linnet.errors._base import LinnetError
from linnet.errors._suggest import brief, class_name, described, did_you_mean, listing, sentences


def _method(module_cls: object, method: str) -> str:
    """``Net.encode`` from what is known of the two."""
    owner = class_name(module_cls) if module_cls else ''
    return '.'.join(part for part in (owner, method) if part)


class AssignSubModuleError(LinnetError):
    """A submodule was made in a method where it can get no name.

    Wrong::

        class Net(nn.Module):
            def __call__(self, x):
                return nn.Dense(3)(x)

    Right::

        class Net(nn.Module):
            @nn.compact
            def __call__(self, x):
                return nn.Dense(3)(x)

    Reason: a submodule gets its name from the attribute in ``setup`` that it is assigned to,
    or from the order of creation in the one method that is ``@nn.compact``.
    """

    code = 'LN301'

    def __init__(self, cls: object, *, parent: object = '', method: str = '') -> None:
        name, owner = class_name(cls), _method(parent, method)
        inside = (
            f'in {owner}, which is neither setup() nor @nn.compact'
            if owner
            else ('outside of setup() and of a method that is @nn.compact')
        )
        super().__init__(
            f'the submodule {name} was created {inside}',
            why='it can get no name there',
            mend=f'put @nn.compact above {method or "the method"}, or create it in setup(): '
            f'self.{name.lower()} = {name}(...)',
        )


class SetAttributeFrozenModuleError(LinnetError):
    """An attribute of a module was set outside of ``setup``.

    Wrong::

        model.features = 8

    Right::

        model = model.clone(features=8)

    Reason: modules are frozen dataclasses: two equal modules compute the same. What changes
    from call to call is a variable; what a method needs again is a local variable.
    """

    code = 'LN302'

    def __init__(self, module_cls: object, attr_name: str, attr_val: object) -> None:
        name = class_name(module_cls)
        super().__init__(
            f'cannot set {name}.{attr_name} = {brief(attr_val)}: the module is frozen',
            why='attributes are set at construction and in setup() only',
            mend=f'{attr_name} = ... in a method that is @nn.compact, or set it in setup()'
            if hasattr(attr_val, '_plan')
            else f'model.clone({attr_name}=...), or self.variable(...) for state that changes',
        )


class SetAttributeInModuleSetupError(LinnetError):
    """A field of a module was set inside ``setup``.

    Wrong::

        class Net(nn.Module):
            width: int = 8
            def setup(self):
                self.width = 16

    Right::

        class Net(nn.Module):
            width: int = 8
            def setup(self):
                self.inner_width = 2 * self.width

    Reason: fields say how the module was built; a clone is built from them again. ``setup``
    may add attributes under other names.
    """

    code = 'LN303'

    def __init__(self, *, module_cls: object = '', attr_name: str = '') -> None:
        super().__init__(
            f'setup() set the field {_method(module_cls, attr_name) or "of a module"}'
            if module_cls or attr_name
            else 'setup() set a field of the module',
            why='fields are fixed at construction',
            mend='give the attribute in setup() another name than the field',
        )


class MultipleMethodsCompactError(LinnetError):
    """A module class has more than one method that is ``@nn.compact``.

    Wrong::

        class Net(nn.Module):
            @nn.compact
            def encode(self, x): ...
            @nn.compact
            def decode(self, x): ...

    Right::

        class Net(nn.Module):
            def setup(self):
                self.encoder, self.decoder = nn.Dense(4), nn.Dense(8)

    Reason: automatic names count the submodules of one method; with two, the names would
    depend on which was called first. Use ``setup``, or ``nn.compact_name_scope``.
    """

    code = 'LN304'

    def __init__(self, *, module_cls: object = '', methods: Iterable[str] = ()) -> None:
        found = f': {listing(methods)}' if methods else ''
        super().__init__(
            f'{class_name(module_cls) if module_cls else "a module class"} has more than one '
            f'method that is @nn.compact{found}',
            why='submodules are named in the order of one method',
            mend='create the submodules in setup() and drop @nn.compact',
        )


class ReservedModuleAttributeError(LinnetError):
    """A module class defines a field that every module has already.

    Wrong::

        class Net(nn.Module):
            name: str = 'net'

    Right::

        class Net(nn.Module):
            title: str = 'net'

    Reason: ``parent`` and ``name`` are fields of every module, which the library fills in.
    """

    code = 'LN305'

    def __init__(self, annotations: object, *, module_cls: object = '') -> None:
        names = annotations if isinstance(annotations, Mapping) else ()
        taken = [name for name in ('parent', 'name') if name in names]
        super().__init__(
            f'{class_name(module_cls) if module_cls else "a module class"} defines the field '
            f'{listing(taken or ("parent", "name"))}; its annotations are {brief(annotations)}',
            why="'parent' and 'name' are fields of every module",
            mend='give the field another name',
        )


class ApplyModuleInvalidMethodError(LinnetError, AttributeError, TypeError):
    """The ``method`` argument is not a method of the module.

    Wrong::

        model.apply(variables, x, method='encod')

    Right::

        model.apply(variables, x, method='encode')

    Reason: ``method`` is the name of a method, a method, or a function whose first argument
    is the module.
    """

    code = 'LN306'

    def __init__(
        self,
        method: object,
        *,
        module_cls: object = '',
        known: Iterable[str] = (),
        transform: str = '',
    ) -> None:
        known = tuple(known)
        owner = class_name(module_cls) if module_cls else 'the module'
        mend = "model.apply(variables, x, method='encode')"
        if transform:
            mend = f"{transform}({owner}, methods=['__call__'])"
        super().__init__(
            f'method{"s" if transform else ""}={brief(method)} is not a method of {owner}',
            why=sentences(
                did_you_mean(method, known), f'Its methods are {listing(known)}.' if known else ''
            ),
            mend=mend,
        )


class NameInUseError(LinnetError, ValueError):
    """Two submodules, parameters or variables of one module have the same name.

    Wrong::

        x = nn.Dense(3, name='Dense_0')(x)
        x = nn.Dense(3)(x)                           # the first automatic name is Dense_0

    Right::

        x = nn.Dense(3, name='first')(x)
        x = nn.Dense(3)(x)

    Reason: the name is the key in the tree of variables. To share a layer, make it once and
    call it twice.
    """

    code = 'LN314'

    def __init__(self, key_type: str, value: str, module_name: str, *, where: str = '') -> None:
        super().__init__(
            f'cannot create the {key_type} {value!r} in {module_name}: its name is in use',
            why=f'{module_name} has made something of the name {value!r} already in this call',
            mend='drop name= or choose another name; to share a layer, make it once and call '
            'it twice',
            where=where,
        )


class BindingError(LinnetError, ValueError):
    """A parameter, variable or submodule was made where a module may not make one.

    Wrong::

        class Net(nn.Module):
            def __call__(self, x):
                return x * self.param('scale', nn.initializers.ones, (1,))

    Right::

        class Net(nn.Module):
            @nn.compact
            def __call__(self, x):
                return x * self.param('scale', nn.initializers.ones, (1,))

    Reason: ``setup`` and the one ``@nn.compact`` method run in every call, so that what they
    make is always there; it needs a module that is bound, inside ``init`` or ``apply``.
    """

    code = 'LN315'

    def __init__(
        self, kind: str, name: str = '', *, module_cls: object = '', method: str = ''
    ) -> None:
        thing = f'the {kind} {name!r}' if name else f'a {kind}'
        place = _method(module_cls, method)
        super().__init__(
            f'{thing} was created {f"in {place}" if place else "outside a module"}, '
            'which is neither setup() nor @nn.compact',
            why=f'a {kind} must be initialized in setup() or in a method wrapped in @nn.compact',
            mend=f'put @nn.compact above {method or "the method"}, or move the line to setup()',
        )

    @classmethod
    def unbound(
        cls, kind: str, name: str = '', *, module_cls: object = '', action: str = 'create'
    ) -> BindingError:
        """A variable was asked of a module that is not bound to any."""
        error = cls(kind, name, module_cls=module_cls)
        owner = class_name(module_cls) if module_cls else 'the module'
        error.what = f'cannot {action} {f"{kind} {name!r}" if name else kind} of {owner}: ' + (
            'it is not bound to variables'
        )
        error.why = 'a module holds variables inside init() and apply(), or after bind()'
        error.mend = f'{owner}().bind(variables), or call it through apply(variables, x)'
        error.args = (error.what,)
        return error


class InvalidInitializerError(LinnetError, TypeError):
    """An initializer is no function of its arguments, or one whose factory was not called.

    Wrong::

        nn.Dense(3, kernel_init=nn.initializers.lecun_normal)
        self.param('w', jnp.zeros, (3,))
        self.variable('state', 'n', 0)

    Right::

        nn.Dense(3, kernel_init=nn.initializers.lecun_normal())
        self.param('w', nn.initializers.zeros, (3,))
        self.variable('state', 'n', lambda: 0)

    Reason: an initializer of a parameter is called with a key first, one of a variable without.
    Most names in ``initializers`` make an initializer, ``init(key, shape, dtype)``, from options;
    ``zeros`` and ``ones`` are initializers themselves.
    """

    code = 'LN318'

    def __init__(self, param_name: str, *, initializer: object = '', value: object = None) -> None:
        name = (
            initializer
            if isinstance(initializer, str)
            else getattr(initializer, '__name__', type(initializer).__name__)
        )
        got = 'a function' if value is None or callable(value) else described(value)
        super().__init__(
            f'the initializer {name or "given"} of parameter {param_name!r} returned {got} '
            'in place of an array',
            why='it is a factory of initializers and was not called',
            mend=f'{param_name}_init={name or "initializer"}()',
        )

    @classmethod
    def not_callable(cls, name: str, value: object, *, keyed: bool) -> InvalidInitializerError:
        """A value was given in place of a function that makes it."""
        error = cls(name)
        error.what = f'the initializer of {name!r} is {described(value)}, not a function'
        error.why = 'it makes the first value when there is none yet'
        error.mend = 'lambda key: value' if keyed else 'lambda: value'
        error.args = (error.what,)
        return error

    @classmethod
    def wrong_arguments(
        cls, name: str, initializer: object, given: Iterable[object], *, keyed: bool
    ) -> InvalidInitializerError:
        """An initializer does not take the arguments that it gets."""
        error = cls(name)
        function = getattr(initializer, '__name__', type(initializer).__name__)
        arguments = ', '.join([*(['key'] if keyed else []), *map(brief, given)])
        error.what = f'the initializer of {name!r} was called as {function}({arguments})'
        error.why = (
            'a parameter is made from a key, and what follows the initializer: a shape is one tuple'
            if keyed
            else 'a variable is made without a key, of what follows the initializer'
        )
        error.mend = (
            f"self.param('{name}', nn.initializers.normal(), (3, 4)), or lambda key: ..."
            if keyed
            else f"self.variable(col, '{name}', jnp.zeros, (3, 4)); self.make_rng() draws a key"
        )
        error.args = (error.what,)
        return error
