"""How a module gets its parent, its name and its scope, and how it is copied.

A module is *attached* to a parent at the end of its constructor: it takes a name and a scope
below the parent's. One made outside has no parent; a module that finds it in a field *adopts* a
copy, under the name of the field. One made in ``setup`` waits for the attribute it is assigned to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from linnet.configurations import config
from linnet.core.scope import Scope
from linnet.errors.calls import (
    CallShareScopeOnUnboundModuleError,
    CallUnbindOnUnboundModuleError,
    ParentError,
)
from linnet.errors.modules import (
    AssignSubModuleError,
    NameInUseError,
    SetAttributeFrozenModuleError,
    SetAttributeInModuleSetupError,
)
from linnet.ids import uuid
from linnet.linen.module.checks import note_adopted, note_name
from linnet.linen.module.context import context
from linnet.linen.module.state import UNSPECIFIED, ModuleBase, ModuleState, SetupState
from linnet.linen.module.trees import freeze_attribute, is_atom, map_modules

_set = object.__setattr__


def construct(module: Any) -> None:
    """Ends the construction of an instance: state, parent, and a scope if there is one."""
    state = ModuleState()
    module.__dict__.update(_state=state, _id=uuid(), scope=None)
    if module.parent is UNSPECIFIED:
        _set(module, 'parent', context.module_stack[-1])
    attach(module)
    state.is_initialized = True


def attach(module: Any) -> None:
    """Gives a module its name and scope below its parent, and takes in the modules it holds."""
    parent = module.parent
    if parent is None:
        return
    if isinstance(parent, ModuleBase):
        if parent._state.in_setup and module.name is None:
            return  # the attribute that it is assigned to will name it
        _attach_to_module(module, parent)
    elif isinstance(parent, Scope):
        _set(module, 'scope', parent)
    else:
        raise ParentError(parent, module_cls=type(module))
    register_fields(module)


def _attach_to_module(module: Any, parent: Any) -> None:
    if not may_initialize(parent):
        raise AssignSubModuleError(
            type(module), parent=type(parent), method=_running_method(parent)
        )
    name = module.name
    if name is None:
        prefix = type(module).__name__
        number = parent._state.autoname_cursor.get(prefix, 0)
        parent._state.autoname_cursor[prefix] = number + 1
        name = f'{prefix}_{number}'
        _set(module, 'name', name)
        if parent.scope is not None:
            note_name(parent, name)
    reuse = parent._state.in_setup and parent._state.setup_called == SetupState.TRANSFORMED
    if name_taken(parent, name, reuse_scopes=reuse):
        raise NameInUseError('submodule', name, type(parent).__name__)
    if parent.scope is None:
        raise AssignSubModuleError(type(module), parent=type(parent))
    parent._state.children[name] = module
    _set(module, 'scope', parent.scope.push(name, reuse=reuse))


def _running_method(module: Any) -> str:
    """The name of the method in which the module stands on the stack, where it can be told."""
    return '__call__' if context.module_stack[-1] is module else ''


def may_initialize(module: Any) -> bool:
    """Tells whether submodules and variables may be made now."""
    state = module._state
    return state.in_compact_method or state.in_setup or not state.is_initialized


def name_taken(
    module: Any, name: str, reuse_scopes: bool = False, collection: str | None = None
) -> bool:
    """Tells whether a submodule or variable may not be called ``name``."""
    if reuse_scopes or module.scope is None:
        return False
    return module.scope.name_reserved(name, collection)


def set_attribute(module: Any, name: str, value: Any) -> None:
    """Sets an attribute: freely while unbound, a new one in ``setup``, then never.

    Raises:
        SetAttributeInModuleSetupError: a field is set in ``setup``.
        SetAttributeFrozenModuleError: the module is bound, and this is not ``setup``.
    """
    state = module._state
    if not state.in_setup:
        if state.is_initialized and module.scope is not None:
            raise SetAttributeFrozenModuleError(type(module), name, value)
        _set(module, name, value)
        return
    field = module.__dataclass_fields__.get(name)
    if field is not None and field.init:
        raise SetAttributeInModuleSetupError(module_cls=type(module), attr_name=name)
    register(module, name, value)


def register_fields(module: Any) -> None:
    """Takes in the modules that the fields hold."""
    attributes = module.__dict__
    for name in module._plan.fields:
        value = attributes.get(name)
        if not is_atom(value):
            register(module, name, value)


def register(module: Any, name: str, value: Any) -> None:
    """Sets an attribute to a value, frozen, whose modules become submodules."""
    pending: list[Any] = []

    def adopt(suffix: str, sub: Any) -> Any:
        if sub.parent is None:
            note_adopted(module, name, sub)
            sub = _adopted(module, sub)
        if sub.name is None:
            _set(sub, 'parent', module)
            _set(sub, 'name', f'{name}{suffix}')
            pending.append(sub)
        return sub

    _set(module, name, map_modules(adopt, freeze_attribute(value)))
    for sub in pending:
        _join(sub)


def _join(module: Any) -> None:
    """Attaches a module that was constructed before it had its parent."""
    module._state.is_initialized = False
    if module._plan.is_plain(type(module)):
        attach(module)
        module._state.is_initialized = True
    else:  # what the class does at the end of construction may depend on the parent
        module.__post_init__()


def _adopted(module: Any, sub: Any) -> Any:
    """Our copy of a module from outside: one for the whole tree, so that sharing survives."""
    *_, root = _lineage(module)
    copies = root._state.adopted
    if sub._id not in copies:
        keep = config.flax_preserve_adopted_names or getattr(
            type(module), 'preserve_adopted_names', False
        )
        name = sub.name if keep else None
        copy = copies[sub._id] = clone(sub, name=None)
        if name is not None:
            _set(copy, 'parent', module)
            _set(copy, 'name', name)
            _join(copy)
    return copies[sub._id]


def _lineage(module: Any) -> Iterator[Any]:
    """A module and those around it, outwards."""
    while isinstance(module, ModuleBase):
        yield module
        module = module.parent  # type: ignore[attr-defined]


def try_setup(module: Any) -> None:
    """Runs ``setup`` if the module is bound and it has not run."""
    state = module._state
    if state.setup_called == SetupState.DONE or module.scope is None or state.in_setup:
        return
    if module._plan.has_setup:
        state.in_setup = True
        try:
            module.setup()
        finally:
            state.in_setup = False
            state.autoname_cursor = {}
            state.setup_called = SetupState.DONE
    else:
        state.setup_called = SetupState.DONE


def clone(
    module: Any,
    *,
    parent: Any = None,
    _class: Any = None,
    _deep_clone: bool | dict[Any, Any] = False,
    _reset_names: bool = False,
    **updates: Any,
) -> Any:
    """A copy of a module with another parent, and with some fields changed.

    Args:
        module: the module.
        parent: the parent of the copy.
        _class: the class of the copy, a base of the module's own.
        _deep_clone: whether the modules in its fields are copied too; a dict of copies by id
            keeps sharing across several clones.
        _reset_names: whether copied modules lose the names that their places gave them.
        **updates: fields of the copy.
    """
    cls = _class or type(module)
    attributes = {name: getattr(module, name) for name in cls._plan.fields}
    attributes.update(parent=parent, name=module.name)
    attributes.update(updates)
    if _deep_clone is not False:
        copies: dict[Any, Any] = {} if _deep_clone is True else _deep_clone

        def copied(suffix: str, sub: Any) -> Any:
            if sub._id not in copies:
                reset = {'name': None} if _reset_names and sub.scope is not None else {}
                copies[sub._id] = sub.clone(_deep_clone=copies, _reset_names=_reset_names, **reset)
            return copies[sub._id]

        for name in module._plan.fields:
            if not is_atom(attributes[name]):
                attributes[name] = map_modules(copied, attributes[name])
    return _rebuilt(cls, attributes)


def _rebuilt(cls: Any, attributes: dict[str, Any]) -> Any:
    """An instance with these fields: copied where the class is plain, constructed where not."""
    if not cls._plan.is_plain(cls) or len(attributes) != len(cls._plan.fields) + 2:
        return cls(**attributes)
    copy = object.__new__(cls)
    parent = attributes.pop('parent')
    copy.__dict__.update(attributes)
    _set(copy, 'parent', parent)
    construct(copy)
    return copy


def unbind(module: Any) -> tuple[Any, Any]:
    """Splits a bound module into an unbound copy and its variables.

    Raises:
        CallUnbindOnUnboundModuleError: the module is not bound.
    """
    if module.scope is None:
        raise CallUnbindOnUnboundModuleError(module_cls=type(module))
    variables = module.variables
    return clone(module, _deep_clone=True, _reset_names=True, name=None), variables


def share_scope(module: Any, other: Any, /) -> None:
    """Lets two modules share one scope, so that one is transparent to the parameter tree.

    A module inside the first one moves out into the first one's scope; otherwise the first one
    moves into the scope of the other.

    Args:
        module: a module, as ``self`` in ``setup``.
        other: another one.

    Raises:
        CallShareScopeOnUnboundModuleError: one of them is not bound.

    >>> import jax, jax.numpy as jnp
    >>> import linnet.linen as nn
    >>> class Wrapper(nn.Module):
    ...     def setup(self):
    ...         self.dense = nn.Dense(2)
    ...         nn.share_scope(self, self.dense)
    ...     def __call__(self, x):
    ...         return self.dense(x)
    >>> list(Wrapper().init(jax.random.key(0), jnp.ones((1, 3)))['params'])
    ['kernel', 'bias']
    """
    for m in (module, other):
        if m.scope is None:
            raise CallShareScopeOnUnboundModuleError(module_cls=type(m))
    moved, scope = (module, other.scope)
    if _is_inside(other.scope, module.scope):
        moved, scope = (other, module.scope)
    old = moved.scope
    _set(moved, 'scope', scope)
    for child in moved._state.children.values():
        if isinstance(child, ModuleBase) and child.scope is not None and child.scope.parent is old:
            scope.reserve(child.scope.name)
            child.scope.move(scope)


def _is_inside(scope: Scope, other: Scope) -> bool:
    above = scope.parent
    while above is not None:
        if above is other:
            return True
        above = above.parent
    return False
