"""The class :class:`Module`: its public methods; the machinery is in the files beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from linnet.core import materialize
from linnet.core.filters import CollectionFilter, DenyList
from linnet.core.scope import Scope
from linnet.core.scope import bind as bind_scope
from linnet.errors.calls import MissingAttributeError
from linnet.ids import uuid
from linnet.linen.module import binding, entry
from linnet.linen.module.plan import plan_class
from linnet.linen.module.representation import module_repr
from linnet.linen.module.state import UNCONSTRUCTED, UNSPECIFIED, module_field
from linnet.linen.module.variables import VariableMethods
from linnet.traceback_util import api_boundary
from linnet.typing import (
    FrozenVariableDict,
    PRNGKey,
    RNGSequences,
    VariableDict,
)

_COPY_PROTOCOL = frozenset(('__copy__', '__deepcopy__', '__getnewargs__', '__getnewargs_ex__'))


class Module(VariableMethods):
    """The base of all neural network modules.

    A module is a dataclass: its annotated attributes are its options, and calling the class makes
    an instance that holds options and no arrays. Variables live outside, in a dict that
    :meth:`init` makes and :meth:`apply` takes. Submodules are made in a ``@nn.compact`` method, or
    assigned to attributes in :meth:`setup`.

    Every instance also has ``name``, its name in its parent, and ``parent``, which is filled in.

    >>> import jax, jax.numpy as jnp
    >>> import linnet.linen as nn
    >>> class MLP(nn.Module):
    ...     width: int
    ...     @nn.compact
    ...     def __call__(self, x):          # [batch..., in] -> [batch..., 1]
    ...         x = nn.relu(nn.Dense(self.width)(x))
    ...         return nn.Dense(1)(x)
    >>> model = MLP(width=8)
    >>> variables = model.init(jax.random.key(0), jnp.ones((2, 3)))
    >>> model.apply(variables, jnp.ones((2, 3))).shape
    (2, 1)
    """

    if TYPE_CHECKING:  # the fields that every class has; made for each by plan_class
        name: str | None = module_field(kw_only=True, default=None)
        parent: Module | Scope | None = module_field(kw_only=True, default=None)
    else:
        name = None
        scope = None
        _state = UNCONSTRUCTED

    @api_boundary
    def __init_subclass__(cls, kw_only: bool = False, **kwargs: Any) -> None:
        """Makes each subclass a module class.

        Args:
            kw_only: whether the class's own fields can only be given by keyword.
            **kwargs: for other base classes.
        """
        super().__init_subclass__(**kwargs)
        plan_class(cls, Module, kw_only)

    def __post_init__(self) -> None:
        """Ends the construction; a subclass that overrides this calls ``super()``'s."""
        binding.construct(self)

    def __setattr__(self, name: str, value: Any) -> None:
        if self._state is UNCONSTRUCTED:  # the constructor sets the fields
            object.__setattr__(self, name, value)
        else:
            binding.set_attribute(self, name, value)

    def __getattr__(self, name: str) -> Any:
        """Finds what ``setup`` makes, by running it when it is first asked for."""
        if name in _COPY_PROTOCOL:
            raise AttributeError(name)
        binding.try_setup(self)
        if name in self.__dict__:
            return self.__dict__[name]
        raise MissingAttributeError(self, name)

    def __dir__(self) -> Iterable[str]:
        """Also names what ``setup`` makes."""
        binding.try_setup(self)
        return object.__dir__(self)

    def __repr__(self) -> str:
        return module_repr(self)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a pickle holds: all but defaults, many of which do not pickle."""
        defaults = self._plan.defaults
        state = {
            k: v for k, v in self.__dict__.items() if k not in defaults or defaults[k] is not v
        }
        state['_parent_ref'] = self.parent  # a weak reference cannot be copied
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({**self._plan.defaults, **state})
        object.__setattr__(self, 'parent', state['_parent_ref'])
        object.__setattr__(self, '_id', uuid())  # a copy is another module

    def setup(self) -> None:
        """Makes submodules and variables as attributes; override it in place of a compact method.

        It runs when a bound module's method or attribute is first used, in ``init`` and ``apply``
        alike. A submodule is called by its attribute, in lists and dicts with index or key.

        >>> import jax, jax.numpy as jnp
        >>> import linnet.linen as nn
        >>> class MLP(nn.Module):
        ...     def setup(self):
        ...         self.layers = [nn.Dense(8), nn.Dense(1)]
        ...     def __call__(self, x):
        ...         return self.layers[1](nn.relu(self.layers[0](x)))
        >>> list(MLP().init(jax.random.key(0), jnp.ones((2, 3)))['params'])
        ['layers_0', 'layers_1']
        """

    def _try_setup(self) -> None:
        """Runs ``setup`` if it has not run; programs call it before they read an attribute."""
        binding.try_setup(self)

    @property
    def _initialization_allowed(self) -> bool:
        """Whether submodules may be made now, or the module is unbound; libraries read it."""
        return self.scope is None or binding.may_initialize(self)

    # Copies.

    def clone(
        self,
        *,
        parent: Scope | Module | None = None,
        _deep_clone: bool | dict[Any, Any] = False,
        _reset_names: bool = False,
        **updates: Any,
    ) -> Self:
        """A copy with another parent, unbound by default, and with some fields changed.

        Args:
            parent: the parent of the copy.
            _deep_clone: whether modules in fields are copied too.
            _reset_names: whether those lose the names that their places gave them.
            **updates: new values of fields.
        """
        return binding.clone(
            self, parent=parent, _deep_clone=_deep_clone, _reset_names=_reset_names, **updates
        )

    def copy(self, *, parent: Any = UNSPECIFIED, name: str | None = None, **updates: Any) -> Self:
        """A copy that becomes a submodule of the module that runs.

        Args:
            parent: another parent.
            name: the copy's name; an automatic one by default.
            **updates: new values of fields.
        """
        return binding.clone(self, parent=parent, name=name, **updates)

    def bind(
        self,
        variables: VariableDict,
        *args: Any,
        rngs: RNGSequences | PRNGKey | None = None,
        mutable: CollectionFilter = False,
    ) -> Self:
        """A copy that holds variables, for use by hand: its methods can be called directly.

        Args:
            variables: the variables.
            *args: ignored.
            rngs: keys by stream.
            mutable: the collections that may be written.

        >>> import jax, jax.numpy as jnp
        >>> import linnet.linen as nn
        >>> variables = nn.Dense(2).init(jax.random.key(0), jnp.ones((1, 3)))
        >>> nn.Dense(2).bind(variables)(jnp.ones((1, 3))).shape
        (1, 2)
        """
        del args
        entry.check_constructed(self, 'bind')
        scope = bind_scope(variables, rngs=rngs, mutable=mutable)
        return self.clone(parent=scope, _deep_clone=True)

    def unbind(self) -> tuple[Self, VariableDict]:
        """Splits a bound module into an unbound copy and its variables.

        Raises:
            CallUnbindOnUnboundModuleError: the module is not bound.
        """
        return binding.unbind(self)

    # Entry.

    @api_boundary
    def apply(
        self,
        variables: VariableDict,
        *args: Any,
        rngs: PRNGKey | RNGSequences | None = None,
        method: Callable[..., Any] | str | None = None,
        mutable: CollectionFilter = False,
        capture_intermediates: bool | Callable[[Module, str], bool] = False,
        **kwargs: Any,
    ) -> Any:
        """Calls the module on variables, without side effects.

        Args:
            variables: collections of variables, as :meth:`init` makes them.
            *args: arguments of the method.
            rngs: keys by stream, such as ``{'dropout': key}``.
            method: what to call: a method or its name, or a function of the module.
            mutable: the collections that may change.
            capture_intermediates: whether results of submodules are stored in ``intermediates``.
            **kwargs: keyword arguments of the method.

        Returns:
            What the method returns; where ``mutable`` is not ``False``, a pair of that and the
            mutable collections.

        Raises:
            ApplyModuleInvalidMethodError: there is no such method.
            ApplyScopeInvalidVariablesTypeError: ``variables`` is no dict of dicts.
            InvalidRngError: something in ``rngs`` is no key.
        """
        entry.check_constructed(self, 'apply')
        run = entry.apply(
            entry.method_of(self, method),
            self,
            mutable=mutable,
            capture_intermediates=capture_intermediates,
        )
        return run(variables, *args, **kwargs, rngs=rngs)

    @api_boundary
    def init_with_output(
        self,
        rngs: PRNGKey | RNGSequences,
        *args: Any,
        method: Callable[..., Any] | str | None = None,
        mutable: CollectionFilter = DenyList('intermediates'),
        capture_intermediates: bool | Callable[[Module, str], bool] = False,
        **kwargs: Any,
    ) -> tuple[Any, FrozenVariableDict | dict[str, Any]]:
        """Like :meth:`init`; also returns what the method does.

        Returns:
            A pair of the method's result and the variables.
        """
        entry.check_constructed(self, 'init_with_output')
        make = entry.init_with_output(
            entry.method_of(self, method),
            self,
            mutable=mutable,
            capture_intermediates=capture_intermediates,
        )
        return make(rngs, *args, **kwargs)

    @api_boundary
    def init(
        self,
        rngs: PRNGKey | RNGSequences,
        *args: Any,
        method: Callable[..., Any] | str | None = None,
        mutable: CollectionFilter = DenyList('intermediates'),
        capture_intermediates: bool | Callable[[Module, str], bool] = False,
        **kwargs: Any,
    ) -> FrozenVariableDict | dict[str, Any]:
        """Makes the variables of the module.

        Args:
            rngs: one key, for ``params``, or a dict of keys by stream.
            *args: arguments of the method; their shapes decide those of the parameters.
            method: what to call: a method or its name, or a function of the module.
            mutable: the collections to make.
            capture_intermediates: as in :meth:`apply`.
            **kwargs: keyword arguments of the method.

        Returns:
            The variables, ``{'params': {...}, ...}``.

        Raises:
            InvalidRngError: something in ``rngs`` is no key, or a stream is missing.
        """
        entry.check_constructed(self, 'init')
        return materialize.run(
            lambda *args, **kwargs: self.init_with_output(*args, **kwargs)[1],
            rngs,
            *args,
            method=method,
            mutable=mutable,
            capture_intermediates=capture_intermediates,
            **kwargs,
        )

    @api_boundary
    def lazy_init(
        self,
        rngs: PRNGKey | RNGSequences,
        *args: Any,
        method: Callable[..., Any] | str | None = None,
        mutable: CollectionFilter = DenyList('intermediates'),
        **kwargs: Any,
    ) -> FrozenVariableDict | dict[str, Any]:
        """Like :meth:`init`, without computing the forward pass.

        Args:
            rngs: one key, for ``params``, or a dict of keys by stream.
            *args: arguments of the method; arrays may be :class:`jax.ShapeDtypeStruct`.
            method: what to call.
            mutable: the collections to make.
            **kwargs: keyword arguments of the method.

        Raises:
            LazyInitError: a variable depends on an argument of which only the shape is known.
        """
        entry.check_constructed(self, 'lazy_init')
        make = entry.lazy_init(entry.method_of(self, method), self, mutable=mutable)
        return make(rngs, *args, **kwargs)

    def tabulate(
        self,
        rngs: PRNGKey | RNGSequences,
        *args: Any,
        depth: int | None = None,
        show_repeated: bool = False,
        mutable: CollectionFilter = DenyList('intermediates'),
        console_kwargs: Mapping[str, Any] | None = None,
        table_kwargs: Mapping[str, Any] = MappingProxyType({}),
        column_kwargs: Mapping[str, Any] = MappingProxyType({}),
        compute_flops: bool = False,
        compute_vjp_flops: bool = False,
        **kwargs: Any,
    ) -> str:
        """A table of all modules that run in ``init``, as text; nothing is computed.

        The arguments are explained at :func:`linnet.linen.tabulate`; those of the method follow
        ``rngs``.

        >>> import jax, jax.numpy as jnp
        >>> import linnet.linen as nn
        >>> text = nn.Dense(2).tabulate(jax.random.key(0), jnp.ones((1, 3)))
        >>> 'Total Parameters: 8 (32 B)' in text
        True
        """
        from linnet.linen.summary import tabulate

        entry.check_constructed(self, 'tabulate')
        draw = tabulate(
            self,
            rngs,
            depth=depth,
            show_repeated=show_repeated,
            mutable=mutable,
            console_kwargs=console_kwargs,
            table_kwargs=table_kwargs,
            column_kwargs=column_kwargs,
            compute_flops=compute_flops,
            compute_vjp_flops=compute_vjp_flops,
        )
        return draw(*args, **kwargs)

    def module_paths(
        self,
        rngs: PRNGKey | RNGSequences,
        *args: Any,
        show_repeated: bool = False,
        mutable: CollectionFilter = DenyList('intermediates'),
        **kwargs: Any,
    ) -> Mapping[str, Module]:
        """All modules that run in ``init``, unbound, by path; nothing is computed.

        Args:
            rngs: as in :meth:`init`.
            *args: arguments of the method.
            show_repeated: kept for compatibility; a path is listed once.
            mutable: as in :meth:`init`.
            **kwargs: keyword arguments of the method, and ``method`` itself.
        """
        del show_repeated
        entry.check_constructed(self, 'module_paths')
        return entry.module_paths(self.init, (rngs, *args), {'mutable': mutable, **kwargs})
