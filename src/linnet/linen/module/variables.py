"""What a module does with its variables and keys: the part of :class:`Module` for its methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from linnet.core.scope import Scope, Variable
from linnet.errors.modules import BindingError, InvalidInitializerError, NameInUseError
from linnet.linen.module import binding
from linnet.linen.module.mistakes import initializer_mistake
from linnet.linen.module.state import ModuleBase
from linnet.typing import PRNGKey, VariableDict

T = TypeVar('T')


def tuple_init() -> tuple[Any, ...]:
    """The first value of a sown variable: no value."""
    return ()


def tuple_reduce(xs: tuple[Any, ...], x: Any) -> tuple[Any, ...]:
    """Appends a sown value to those before it."""
    return (*xs, x)


class VariableMethods(ModuleBase):
    """The methods by which a bound module makes, reads and writes variables and draws keys."""

    def param(
        self,
        name: str,
        init_fn: Callable[..., T],
        *init_args: Any,
        unbox: bool = True,
        **init_kwargs: Any,
    ) -> T:
        """Declares a parameter of this module.

        Args:
            name: its name.
            init_fn: makes its first value, ``init_fn(key, *init_args, **init_kwargs)``; such as
                the functions that ``nn.initializers`` makes, called with a shape and a dtype.
            *init_args: arguments of ``init_fn`` after the key.
            unbox: whether metadata boxes are taken off the value.
            **init_kwargs: keyword arguments of ``init_fn``.

        Returns:
            The value.

        Raises:
            BindingError: called outside of ``setup`` and compact methods, or unbound.
            NameInUseError: the name is taken.
            ScopeParamShapeError: the value has another shape than ``init_fn`` would give.
            ScopeParamNotFoundError, ScopeCollectionNotFound: no such parameter was passed in.
        """
        scope = self._declare('param', name, 'params')
        try:
            value = scope.param(name, init_fn, *init_args, unbox=unbox, **init_kwargs)
        except TypeError as error:
            mistake = initializer_mistake(name, init_fn, init_args, init_kwargs, keyed=True)
            raise mistake or error from None
        if callable(value) and not hasattr(value, 'shape'):
            raise InvalidInitializerError(name, initializer=init_fn, value=value)
        self._state.children[name] = 'params'
        return value

    def variable(
        self,
        col: str,
        name: str,
        init_fn: Callable[..., T] | None = None,
        *init_args: Any,
        unbox: bool = True,
        **init_kwargs: Any,
    ) -> Variable[T]:
        """Declares a variable of this module: state beside the parameters.

        Args:
            col: its collection, such as ``batch_stats``.
            name: its name.
            init_fn: makes its first value, ``init_fn(*init_args, **init_kwargs)``. It is given
                no key: ``self.make_rng`` draws one.
            *init_args: arguments of ``init_fn``.
            unbox: whether metadata boxes are taken off the value.
            **init_kwargs: keyword arguments of ``init_fn``.

        Returns:
            A handle whose ``value`` reads, and where the collection is mutable, writes.

        Raises:
            BindingError: called outside of ``setup`` and compact methods, or unbound.
            NameInUseError: the name is taken.
            ScopeVariableNotFoundError, ScopeCollectionNotFound: no such variable was passed in.

        >>> import jax, jax.numpy as jnp
        >>> import linnet.linen as nn
        >>> class Counter(nn.Module):
        ...     @nn.compact
        ...     def __call__(self):
        ...         count = self.variable('state', 'count', lambda: jnp.zeros((), int))
        ...         count.value += 1
        ...         return count.value
        >>> y, state = Counter().apply({}, mutable=['state'])
        >>> Counter().apply(state, mutable=['state'])[0].item()
        2
        """
        scope = self._declare('variable', name, col)
        try:
            variable = scope.variable(col, name, init_fn, *init_args, unbox=unbox, **init_kwargs)
        except TypeError as error:
            mistake = initializer_mistake(name, init_fn, init_args, init_kwargs, keyed=False)
            raise mistake or error from None
        self._state.children[name] = col
        return variable

    def _declare(self, kind: str, name: str, col: str) -> Scope:
        """Checks that a variable may be made here and now; returns the scope that holds it."""
        scope = self._bound(kind, name)
        if not binding.may_initialize(self):
            raise BindingError(kind, name, module_cls=type(self))
        if binding.name_taken(self, name, collection=col):
            raise NameInUseError(kind, name, type(self).__name__)
        return scope

    def _bound(self, kind: str = 'variables', name: str = '', action: str = 'create') -> Scope:
        """The scope of a bound module."""
        if self.scope is None:
            raise BindingError.unbound(kind, name, module_cls=type(self), action=action)
        return self.scope

    @property
    def variables(self) -> VariableDict:
        """The variables of this module, and those below, by collection."""
        return self._bound(action='read').variables()

    def get_variable(self, col: str, name: str, default: T | None = None) -> T:
        """The value of a variable, or ``default``."""
        return self._bound('variable', name, 'read').get_variable(col, name, default)

    def put_variable(self, col: str, name: str, value: Any) -> None:
        """Writes a variable.

        Raises:
            ModifyScopeVariableError: the collection is not mutable.
        """
        self._bound('variable', name, 'write').put_variable(col, name, value)

    def has_variable(self, col: str, name: str) -> bool:
        """Tells whether a variable exists."""
        return self._bound('variable', name, 'look for').has_variable(col, name)

    def is_mutable_collection(self, col: str) -> bool:
        """Tells whether variables of a collection can be written."""
        return self._bound(action='check').is_mutable_collection(col)

    def is_initializing(self) -> bool:
        """Tells whether this runs in ``init``, which makes variables that do not exist."""
        return self._bound(action='check').get_flag('initializing', False)

    def make_rng(self, name: str = 'params') -> PRNGKey:
        """Draws a key: unique to this module's path and to how often it has drawn.

        Args:
            name: the stream; one that was not given falls back to ``params``.

        Raises:
            InvalidRngError: neither the stream nor ``params`` was given.
        """
        return self._bound('key of the stream', name, 'draw').make_rng(name)

    def has_rng(self, name: str) -> bool:
        """Tells whether a key was given for the stream ``name`` itself."""
        return self._bound('key of the stream', name, 'look for').has_rng(name)

    def sow(
        self,
        col: str,
        name: str,
        value: T,
        reduce_fn: Callable[[Any, T], Any] = tuple_reduce,
        init_fn: Callable[[], Any] = tuple_init,
    ) -> bool:
        """Stores a value for the caller of ``apply``, where the collection is mutable.

        Args:
            col: the collection.
            name: the variable's name.
            value: the value.
            reduce_fn: joins what is stored with the value; by default a tuple grows.
            init_fn: makes what is stored before the first value.

        Returns:
            Whether it was stored.
        """
        scope = self._bound('variable', name, 'sow')
        ledger = scope.counts.ledger
        if not scope.is_mutable_collection(col):
            ledger.declined.add(col)
            return False
        if scope.has_variable(col, name):
            if col in ledger.given and reduce_fn is tuple_reduce:
                ledger.sown_again.setdefault(col, f'{scope.path_text} ({type(self).__name__})')
            stored = scope.get_variable(col, name)
        else:
            scope.reserve(name, col)
            self._state.children[name] = col
            stored = init_fn()
        scope.put_variable(col, name, reduce_fn(stored, value))
        return True

    def perturb(self, name: str, value: T, collection: str = 'perturbations') -> T:
        """Adds a variable of zeros to a value, so that its gradient is that of the value.

        Args:
            name: the variable's name.
            value: an intermediate value, or a tree of them.
            collection: the collection; without it the value is returned as it is.

        Raises:
            ScopeVariableNotFoundError: the collection is there, but not this variable.
        """
        scope = self._bound('variable', name, 'perturb')
        if scope.is_mutable_collection(collection) and not scope.has_variable(collection, name):
            scope.reserve(name, collection)
            self._state.children[name] = collection
            scope.put_variable(collection, name, jax.tree_util.tree_map(jnp.zeros_like, value))
        if not scope.root.has_collection(collection):
            return value
        if not scope.has_variable(collection, name):
            raise scope.not_found(collection, name)
        offset = scope.get_variable(collection, name)
        return jax.tree_util.tree_map(jnp.add, value, offset)

    @property
    def path(self) -> tuple[str, ...]:
        """The names from the root module to this one; empty at the root."""
        return self._bound('path', action='read').path
